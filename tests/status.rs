//! `onefold status`: what a monitor asks, and when it is alarmed.

use serde_json::Value;

use crate::user::{User, capture, three};

#[test]
fn the_age_of_the_last_complete_snapshot_of_each_cluster() {
    let user = User::new();
    user.run(&["status"]).failed(6, &["no snapshot was made of it yet"]);
    user.run(&["status", "--cluster", "prod"]).failed(6, &["prod", "no snapshot was made"]);

    let nodes = three(&capture("cassandra-5.0"));
    let two: Vec<_> = nodes[..2].to_vec();
    // A replica of every range is away: no complete snapshot yet, however new.
    assert_eq!(user.backup(&two, &[]).code, Some(4));
    let never = user.run(&["status", "--max-age", "26h"]);
    assert_eq!(never.code, Some(6), "{never:?}");
    assert!(never.out.starts_with("LATE  prod (cassandra)  never complete; newest "), "{never:?}");

    user.backup(&nodes, &[]).fine();
    assert_eq!(user.backup(&two, &[]).code, Some(4));
    let ids = user.snapshots();
    let said = user.run(&["status", "--max-age", "26h"]).fine();
    assert!(said.starts_with(&format!("prod (cassandra)  complete {}", &ids[1][..10])), "{said}");
    assert!(said.ends_with("; 1 incomplete since\n"), "{said}");
    let old = user.run(&["status", "--max-age", "0s"]);
    assert_eq!(old.code, Some(6), "{old:?}");
    assert!(old.out.starts_with("LATE  prod"), "{old:?}");
    user.run(&["status", "--max-age", "yesterday"]).failed(1, &["is no age, such as 26h"]);

    let told: Value = user.run(&["status", "--json", "--cluster", "prod"]).objects().remove(0);
    assert_eq!(
        (&told["message_type"], &told["cluster"], &told["late"]),
        (&"status".into(), &"prod".into(), &Value::Null)
    );
    assert_eq!((&told["complete"]["id"], &told["newest"]["id"]), (&ids[1].as_str().into(), &ids[2].as_str().into()));
    assert_eq!(told["incomplete_since"], 1);
    user.run(&["status", "--cluster", "other"]).failed(6, &["other"]);

    let metrics = user.run(&["status", "--metrics"]).fine();
    let seconds = told["complete"]["time"].as_u64().unwrap();
    for line in [
        "# TYPE onefold_last_complete_snapshot_timestamp_seconds gauge".to_owned(),
        format!("onefold_last_complete_snapshot_timestamp_seconds{{cluster=\"prod\",engine=\"cassandra\"}} {seconds}"),
        "onefold_incomplete_snapshots{cluster=\"prod\",engine=\"cassandra\"} 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|said| said == line), "{line}: {metrics}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_named_and_hides_no_other() {
    let user = User::new();
    let nodes = three(&capture("cassandra-5.0"));
    user.backup(&nodes, &[]).fine();
    user.backup(&nodes, &[]).fine();
    let newest = user.snapshots().remove(1);
    for file in crate::user::files_below(&user.path("repo")) {
        if file.to_string_lossy().contains(&newest) {
            std::fs::write(&file, b"no snapshot").unwrap();
        }
    }
    let told = user.run(&["status"]);
    told.failed(5, &["passed over", &newest]);
    assert!(told.out.starts_with("prod (cassandra)  complete "), "{told:?}");
}
