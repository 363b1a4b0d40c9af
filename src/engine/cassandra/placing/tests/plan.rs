//! Parts, levels and numbers of files for rings of any size.

use std::sync::Arc;

use super::{fixture, options, placed, racks, simple, size};
use crate::engine::cassandra::placing::{By, Cut, Parts, Placed, Plan, TargetRing};

#[test]
fn parts_and_levels_of_a_plan() {
    let ring = TargetRing::parse(&fixture("5.0", "ring.txt"), "ring.txt").unwrap();
    let count = |placed: &Arc<Placed>, by| Parts::new(placed, by).count();
    let all = placed(&ring, &simple("3"));
    assert_eq!([By::Sets, By::Stretches, By::Nodes].map(|by| count(&all, by)), [1, 1, 3]);
    let two = placed(&ring, &simple("2"));
    let shares: f64 = two.lots().iter().map(|lot| lot.share).sum();
    assert!((shares - 2.0).abs() < 1e-9);
    assert!(two.lots().iter().all(|lot| lot.sets == 2 && lot.stretches > 10));
    assert_eq!((count(&two, By::Sets), count(&two, By::Nodes)), (3, 3));
    let stretches = Parts::new(&two, By::Stretches);
    assert!((1..stretches.count()).all(|part| stretches.last(part - 1) < stretches.last(part)));
    let (mut here, mut nodes) = (Vec::new(), Vec::new());
    for token in [i64::MIN + 1, 0, i64::MAX] {
        let holders = [By::Sets, By::Stretches, By::Nodes].map(|by| {
            let parts = Parts::new(&two, by);
            parts.of(token, &mut here);
            nodes = here.iter().flat_map(|part| parts.nodes(*part)).collect();
            assert!(here.iter().all(|part| parts.last(*part) >= token));
            nodes.clone()
        });
        assert!(holders[0].len() == 2 && holders[0] == holders[1] && holders[1] == holders[2]);
    }
    let levels = Cut::Levels { size: 1 << 20, fanout: 10 };
    let small = Plan::for_nodes(&two, levels, size(1 << 20, 1 << 20));
    assert_eq!((small.level, small.parts.count()), (0, 3));
    let large = Plan::for_nodes(&two, levels, size(1 << 20, 1 << 30));
    assert_eq!((large.level, large.parts.count()), (3, stretches.count()));
    assert_eq!(Plan::for_nodes(&all, levels, size(1 << 20, 5 << 20)).level, 1);
}

#[test]
fn files_are_few_whatever_the_ring() {
    let three = options(&[("class", "NetworkTopologyStrategy"), ("dc0", "3")]);
    let windows = Cut::Windows { seconds: 86_400, resolution: 1_000_000 };
    let (mb, gb) = (1 << 20, 1 << 30);
    // Nodes, cut, bytes; kind of parts.
    for (count, cut, bytes, by) in [
        (15, Cut::Size, 12 * mb, By::Nodes),
        (15, Cut::Size, 10 * gb, By::Sets),
        (30, Cut::Size, 10 * gb, By::Nodes),
        // Large enough that a stretch is no crumb: less is written.
        (30, Cut::Size, 1000 * gb, By::Stretches),
        (7, windows, gb, By::Sets),
        (30, windows, 100 * gb, By::Nodes),
        (7, windows, 10 * mb, By::Nodes),
        (3, windows, 10 * gb, By::Sets),
    ] {
        let plan = Plan::for_nodes(&placed(&racks(count, 1, 256), &three), cut, size(bytes / 100, bytes));
        assert_eq!(plan.parts.by(), by, "{count} nodes, {cut:?}, {bytes}: {} files", plan.files());
        let stretch = bytes / 256 / count as u64;
        let most = plan.of_nodes().map(|node| node.files).max().unwrap();
        let windows = if cut == Cut::Size { 1 } else { 30 };
        assert!(most <= 50 * windows || stretch >= 64 * mb * windows, "{count} nodes, {cut:?}, {bytes}: {most} files");
        assert!(plan.of_nodes().all(|node| node.bytes >= bytes / count as u64));
    }
    // Hardly any rows come to hardly any files.
    let few = Plan::for_nodes(&placed(&racks(30, 1, 256), &three), Cut::Size, size(5, 1000));
    assert!(few.files() <= 15, "{}", few.files());
}

/// What a plan takes grows with the tokens alone: the holders of a range are kept once for every set of them.
#[test]
fn a_thousand_nodes_are_placed_once() {
    let ring = racks(1000, 2, 256);
    let both = options(&[("class", "NetworkTopologyStrategy"), ("dc0", "3"), ("dc1", "3")]);
    let placed = placed(&ring, &both);
    let plans: Vec<Plan> = (0..1000).map(|n| Plan::for_nodes(&placed, Cut::Size, size(n, n << 20))).collect();
    assert_eq!(Arc::strong_count(&placed), 1001);
    assert!(plans.iter().all(|plan| plan.of_nodes().count() == 1000));
    assert!(Parts::new(&placed, By::Stretches).count() <= 256_001);
}
