use super::*;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// 2026-03-02 00:00 UTC, a Monday.
const START: u64 = 1_772_409_600_000;

fn candidate(n: u8, time_ms: u64) -> Candidate {
    let shards = BTreeSet::from(["t".to_owned()]);
    let (id, group, tags) = (SnapshotId([n; 32]), "g".to_owned(), vec![]);
    Candidate { id, time_ms, stored: None, group, tags, pinned: None, complete: true, shards }
}

fn policy(counts: &[(Period, u32)]) -> Policy {
    Policy { counts: counts.iter().copied().collect(), ..Policy::default() }
}

/// The places of those that stay, the one that is last complete left out.
fn kept(policy: &Policy, all: &[Candidate], now_ms: u64) -> Vec<usize> {
    let verdicts = policy.judge(all, now_ms);
    let stays = |v: &Verdict| v.reasons.iter().any(|reason| !reason.starts_with("last complete"));
    verdicts.iter().enumerate().filter(|(_, v)| stays(v)).map(|(at, _)| at).collect()
}

#[test]
fn the_youngest_of_each_period() {
    // Every six hours for 60 days.
    let all: Vec<Candidate> = (0..240).map(|n| candidate(n as u8, START + n * 6 * HOUR)).collect();
    let now = START + 240 * 6 * HOUR;
    let at = |hours: &[u64]| -> Vec<usize> { hours.iter().map(|h| (h / 6) as usize).collect() };
    assert_eq!(kept(&policy(&[(Period::Last, 3)]), &all, now), [237, 238, 239]);
    assert_eq!(kept(&policy(&[(Period::Hour, 2)]), &all, now), [238, 239]);
    assert_eq!(kept(&policy(&[(Period::Day, 3)]), &all, now), at(&[57 * 24 + 18, 58 * 24 + 18, 59 * 24 + 18]));
    // 60 days from a Monday on end with a Thursday: the week that runs, and the Sundays before.
    assert_eq!(kept(&policy(&[(Period::Week, 3)]), &all, now), at(&[48 * 24 + 18, 55 * 24 + 18, 59 * 24 + 18]));
    // To the 30th of April: March ends at day 29.
    assert_eq!(kept(&policy(&[(Period::Month, 9)]), &all, now), at(&[29 * 24 + 18, 59 * 24 + 18]));
    assert_eq!(kept(&policy(&[(Period::Year, 1)]), &all, now), [239]);
    let both = kept(&policy(&[(Period::Day, 2), (Period::Week, 2)]), &all, now);
    assert_eq!(both, at(&[55 * 24 + 18, 58 * 24 + 18, 59 * 24 + 18]));
}

#[test]
fn many_in_one_hour_push_nothing_out() {
    let mut all: Vec<Candidate> = (0..10).map(|n| candidate(n, START + u64::from(n) * DAY)).collect();
    let last = START + 10 * DAY;
    all.extend((0..50).map(|n| candidate(100 + n, last + u64::from(n) * 1000)));
    assert_eq!(kept(&policy(&[(Period::Last, 4)]), &all, last + HOUR), [7, 8, 9, 59]);
}

#[test]
fn a_time_that_contradicts_the_log_neither_counts_nor_expires() {
    let times = [0, 1, 2, 900, 3, 4, -5, 5];
    let all: Vec<Candidate> =
        (0..).zip(times).map(|(n, day)| candidate(n, START.saturating_add_signed(day * DAY as i64))).collect();
    let verdicts = policy(&[(Period::Day, 3)]).judge(&all, START + 6 * DAY);
    let odd = |at: usize| verdicts[at].reasons.iter().any(|reason| reason.starts_with("its time contradicts"));
    assert_eq!((0..8).filter(|at| odd(*at)).collect::<Vec<_>>(), [3, 6]);
    assert_eq!(kept(&policy(&[(Period::Day, 3)]), &all, START + 6 * DAY), [3, 4, 5, 6, 7]);
    // A few minutes are nothing; a time to come is.
    let all = [candidate(0, START + HOUR), candidate(1, START + HOUR - SKEW), candidate(2, START + 3 * HOUR)];
    assert_eq!(kept(&policy(&[(Period::Last, 1)]), &all, START + 2 * HOUR), [1, 2]);
    let reasons = &policy(&[(Period::Last, 1)]).judge(&all, START + 2 * HOUR)[2].reasons;
    assert!(reasons.iter().any(|reason| reason.contains("still to come")), "{reasons:?}");
}

#[test]
fn incomplete_ones_take_no_place_and_count_while_they_are_newest() {
    let mut all: Vec<Candidate> = (0..12).map(|n| candidate(n, START + u64::from(n) * DAY)).collect();
    // 3, 4 are followed by complete ones; 9, 10, 11 are the newest.
    [3, 4, 9, 10, 11].iter().for_each(|at| all[*at].complete = false);
    let now = START + 12 * DAY;
    assert_eq!(kept(&policy(&[(Period::Day, 2)]), &all, now), [7, 8, 10, 11]);
    // The last complete one of each table stays, whatever the policy.
    all[1].shards.insert("dropped".to_owned());
    let verdicts = policy(&[(Period::Day, 1)]).judge(&all, now);
    assert_eq!(verdicts[1].reasons, ["last complete one of 1 tables"]);
    assert!(verdicts[8].reasons.contains(&"last complete one of 1 tables".to_owned()));
    // An incomplete one that has a table which no complete one has counts, however old.
    all[0].complete = false;
    all[0].shards.insert("never complete".to_owned());
    assert_eq!(kept(&policy(&[(Period::Day, 4)]), &all, now), [0, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn spans_labels_graces_and_groups() {
    let mut all: Vec<Candidate> = (0..100).map(|n| candidate(n, START + u64::from(n) * 12 * HOUR)).collect();
    let now = START + 100 * 12 * HOUR;
    let within = |period, span: &str| Policy {
        within: BTreeMap::from([(period, Span2(span.parse().unwrap()))]),
        ..Policy::default()
    };
    assert_eq!(kept(&within(Period::Last, "2d"), &all, now), [95, 96, 97, 98, 99]);
    assert_eq!(kept(&within(Period::Day, "2d"), &all, now), [95, 97, 99]);
    assert_eq!(kept(&within(Period::Month, "1mo"), &all, now), [59, 99]);
    all[5].tags = vec!["a".to_owned(), "b".to_owned()];
    all[6].tags = vec!["a".to_owned()];
    let tags = Policy { tags: vec![vec!["a".to_owned(), "b".to_owned()]], ..Policy::default() };
    assert_eq!(kept(&tags, &all, now), [5]);
    all[8].pinned = Some("why".to_owned());
    all[9].pinned = Some(String::new());
    assert_eq!(kept(&tags, &all, now), [5, 8, 9]);
    assert_eq!(tags.judge(&all, now)[8].reasons, ["pinned: why"]);
    assert_eq!((all[8].pinned.take(), all[9].pinned.take().as_deref()), (Some("why".to_owned()), Some("")));
    let grace = Policy { grace_ms: DAY, ..policy(&[(Period::Last, 1)]) };
    assert_eq!(kept(&grace, &all, now), [99], "24 hours to the millisecond are over");
    assert_eq!(kept(&grace, &all, now - 1), [98, 99]);
    all[7].group = "another".to_owned();
    assert_eq!(kept(&policy(&[(Period::Last, 1)]), &all, now), [7, 99]);
}

/// A policy that is applied again to what it left leaves the same, where all times are in order. (Where one was not, what it
/// contradicted may be gone by then, and it counts.) The last complete one of each table stays in any case.
#[test]
fn once_is_enough() {
    let mut seed = 3u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..600 {
        let mut time = START;
        let all: Vec<Candidate> = (0..next(60) as u8)
            .map(|n| {
                time += next(40) * HOUR;
                let mut c =
                    candidate(n, if round % 2 == 0 && next(12) == 0 { START + next(4000) * HOUR } else { time });
                c.complete = next(4) > 0;
                c.group = next(2).to_string();
                c.shards.extend((next(3) == 0).then(|| next(5).to_string()));
                c
            })
            .collect();
        let counts = [Period::Last, Period::Day, Period::Week, Period::Year].map(|period| (period, next(5) as u32));
        let policy = policy(&counts);
        let now = time + next(50) * HOUR;
        let verdicts = policy.judge(&all, now);
        let left: Vec<Candidate> =
            all.iter().zip(&verdicts).filter(|(_, v)| !v.reasons.is_empty()).map(|(c, _)| c.clone()).collect();
        let again = policy.judge(&left, now);
        assert!(round % 2 == 0 || again.iter().all(|v| !v.reasons.is_empty()), "{all:#?} {again:#?}");
        let complete = |all: &[Candidate]| last_complete(all).into_keys().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(complete(&all), complete(&left), "the last complete one of each table stays");
    }
}

#[test]
fn a_time_that_contradicts_the_store_neither_counts_nor_expires() {
    let mut all: Vec<Candidate> = (0..8).map(|n| candidate(n, START + u64::from(n) * DAY)).collect();
    all[6].stored = Some((START + 90 * DAY, true));
    all[7].stored = Some((START + 7 * DAY, false));
    let policy = Policy { grace_ms: 7 * DAY, ..policy(&[(Period::Day, 2)]) };
    let verdicts = policy.judge(&all, START + 40 * DAY);
    assert_eq!(verdicts[6].reasons, ["its time contradicts the store's date of it", "within the grace"]);
    assert_eq!(kept(&policy, &all, START + 40 * DAY), [5, 6, 7]);
    // It is as young as the store says.
    all[3].stored = Some((START + 35 * DAY, false));
    assert_eq!(kept(&policy, &all, START + 40 * DAY), [3, 5, 6, 7]);
}
