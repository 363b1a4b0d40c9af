//! Layers against the runs that they were made of: whole, from any key on, joined in any way.

use onefold::merge::{BeforeRun, Layering, Overlay, Settled, Stacking};
use onefold::run::{RecordBatch, Run};
use onefold::tree::{Root, TreeRun, TreeWriter};
use onefold::{Kind, Result};
use proptest::prelude::*;
use repo_format::record::{Class, Entries, EntryKind, Traits};

use super::{CUT, RULE, fold_at, history, node_runs};
use crate::world::{Chunks, Plain, Write, collect, shape};
use onefold::merge::Owned;

type History = Vec<(u8, Write, u8)>;

/// What a night came to, and its own tree.
struct Night {
    run: Vec<Plain>,
    root: Option<Root>,
}

fn night(history: &History, cut: u32, chunks: &Chunks) -> Night {
    let root = fold_at(cut, node_runs(history, &[0, 1]), vec![Owned::All; 2], chunks).root;
    Night { run: collect(&mut TreeRun::new(root, chunks)).unwrap(), root }
}

/// Two layers as one.
fn joined<'a>(lower: Box<dyn Run + 'a>, upper: &mut dyn Run, chunks: &Chunks) -> Option<Root> {
    let mut writer = TreeWriter::new(chunks, &shape(2)).of_layer();
    let (mut stacking, mut batch) = (Stacking::new(lower), RecordBatch::new());
    while upper.next_batch(&mut batch).unwrap() {
        batch.iter().for_each(|record| stacking.push(&record, &mut |record| writer.push(record)).unwrap());
    }
    stacking.finish(&mut |record| writer.push(record)).unwrap();
    writer.finish().unwrap()
}

/// The layer that leads from one run to another.
fn layer(before: Box<dyn Run + '_>, now: Option<Root>, chunks: &Chunks) -> Option<Root> {
    let mut writer = TreeWriter::new(chunks, &shape(2)).of_layer();
    let mut layering = Layering::new(Box::new(BeforeRun::new(before)));
    let (mut run, mut batch) = (TreeRun::new(now, chunks), RecordBatch::new());
    while run.next_batch(&mut batch).unwrap() {
        layering.push(&batch, &mut |record| writer.push(record)).unwrap();
    }
    layering.finish(&mut |record| writer.push(record)).unwrap();
    writer.finish().unwrap()
}

type Range = (Vec<u8>, Option<Vec<u8>>);

fn overlaid<'a>(
    base: Option<Root>,
    layers: &[Option<Root>],
    (from, to): Range,
    chunks: &'a Chunks,
) -> Box<dyn Run + 'a> {
    let mut runs: Vec<Box<dyn Run + 'a>> = vec![Box::new(TreeRun::range(base, chunks, from.clone(), to.clone()))];
    for layer in layers {
        runs.push(Box::new(TreeRun::range(*layer, chunks, from.clone(), to.clone()).of_layer()));
    }
    Box::new(Overlay::new(runs, from))
}

fn whole() -> Range {
    (Vec::new(), None)
}

/// Reads the stack as a whole and in every range, and holds it against what it must give.
fn check(
    nights: &[Night],
    layers: &[Option<Root>],
    chunks: &Chunks,
    from_partition: u8,
) -> std::result::Result<(), TestCaseError> {
    let (base, last) = (nights[0].root, nights.last().unwrap());
    prop_assert_eq!(&collect(&mut *overlaid(base, layers, whole(), chunks)).unwrap(), &last.run);
    for at in 0..12 {
        for to in [None, Some(vec![b'k', from_partition]), Some(vec![b'k', from_partition, 2, at + 3])] {
            let range = (vec![b'k', from_partition, 2, at], to);
            let must: Result<Vec<Plain>> =
                collect(&mut TreeRun::range(last.root, chunks, range.0.clone(), range.1.clone()));
            match collect(&mut *overlaid(base, layers, range.clone(), chunks)) {
                Ok(got) => prop_assert_eq!(got, must.unwrap(), "{:?}", range),
                Err(e) => {
                    prop_assert_eq!(e.kind(), Kind::Unsupported);
                    let is_row = |r: &Plain| r.key == range.0 && r.class == Class::Row;
                    prop_assert!(nights.iter().any(|night| night.run.iter().any(is_row)), "{}", e);
                }
            }
        }
    }
    Ok(())
}

/// Nights of which each loses some of what was written before, and has some more.
fn nights() -> impl Strategy<Value = Vec<History>> {
    let night = (history(), proptest::collection::vec(any::<bool>(), 0..40));
    (history(), proptest::collection::vec(night, 1..6)).prop_map(|(first, nights)| {
        let mut all = vec![first];
        for (more, kept) in nights {
            let before = all.last().unwrap().iter().zip(kept.iter().chain(std::iter::repeat(&true)));
            let mut next: History = before.filter(|(_, kept)| **kept).map(|(write, _)| write.clone()).collect();
            next.extend(more.into_iter().take(6));
            all.push(next);
        }
        all
    })
}

proptest! {
    #[test]
    fn layers_give_the_run_that_they_were_made_of(
        histories in nights(),
        joins in proptest::collection::vec(any::<proptest::sample::Index>(), 6),
        partition in 0u8..4,
    ) {
        let chunks = Chunks::default();
        let nights: Vec<Night> = histories.iter().map(|history| night(history, CUT, &chunks)).collect();
        let mut layers = Vec::new();
        for pair in nights.windows(2) {
            let before = overlaid(nights[0].root, &layers, whole(), &chunks);
            prop_assert_eq!(&collect(&mut *overlaid(nights[0].root, &layers, whole(), &chunks)).unwrap(), &pair[0].run);
            layers.push(layer(before, pair[1].root, &chunks));
            marks(layers.last().unwrap(), &pair[0], &pair[1], &chunks)?;
            // Nothing of it is as it was before, but for markers.
            for (record, traits) in collect_marked(layers.last().unwrap(), &chunks) {
                prop_assert!(record.class == Class::Marker || !pair[0].run.contains(&record), "{:?}", record);
                let was = pair[0].run.iter().any(|r| r.key == record.key);
                prop_assert_eq!(traits.has(Traits::ADDED), !was, "{:?}", record);
            }
        }
        // The night that each layer leads to.
        let mut to: Vec<usize> = (1..nights.len()).collect();
        check(&nights, &layers, &chunks, partition)?;
        // Any two that lie one above the other may be joined.
        for join in joins {
            if layers.len() > 1 {
                let at = join.index(layers.len() - 1);
                let run = |root: Option<Root>| Box::new(TreeRun::new(root, &chunks).of_layer());
                let upper = layers.remove(at + 1);
                layers[at] = joined(run(layers[at]), &mut *run(upper), &chunks);
                to.remove(at);
                let from = at.checked_sub(1).map_or(0, |below| to[below]);
                marks(&layers[at], &nights[from], &nights[to[at]], &chunks)?;
                check(&nights, &layers, &chunks, partition)?;
            }
        }
    }

    /// What expires between two nights is no change, and the view of the later night has it expired.
    #[test]
    fn expiry_is_no_change(history in history(), later in 0u32..60) {
        let chunks = Chunks::default();
        let (before, now) = (night(&history, CUT, &chunks), night(&history, CUT + later, &chunks));
        let settled = || Box::new(Settled::new(Box::new(TreeRun::new(before.root, &chunks)), &RULE, CUT + later));
        for record in collect(&mut *settled()).unwrap() {
            for entry in Entries::new(&record.body).map(|entry| entry.unwrap()) {
                let lives = entry.column == 0 || entry.kind != EntryKind::Cell || !entry.expires();
                prop_assert!(lives || entry.ldt > CUT + later, "{:?}", entry);
            }
        }
        let layer = layer(settled(), now.root, &chunks);
        let runs: Vec<Box<dyn Run + '_>> =
            vec![Box::new(TreeRun::new(before.root, &chunks)), Box::new(TreeRun::new(layer, &chunks).of_layer())];
        let view = Box::new(Overlay::new(runs, Vec::new()));
        prop_assert_eq!(&collect(&mut Settled::new(view, &RULE, CUT + later)).unwrap(), &now.run);
        // A file of the later night may win a tie that another won before: nothing else is left to say.
        if collect(&mut *settled()).unwrap() == now.run {
            prop_assert_eq!(layer, None);
        }
    }
}

/// A layer says of each record whether it was there before and is there now, and nothing of what neither was nor is: whoever compares
/// nights believes it.
fn marks(layer: &Option<Root>, before: &Night, now: &Night, chunks: &Chunks) -> std::result::Result<(), TestCaseError> {
    for (record, traits) in collect_marked(layer, chunks) {
        let of = |night: &Night| night.run.iter().any(|r| r.key == record.key);
        let (was, is) = (of(before), of(now));
        // A marker that came and went stays, for what is in force behind it; one that comes back there replaces it.
        let is_added = record.class == Class::Marker || traits.has(Traits::ADDED) == (!was && is);
        prop_assert!(is_added, "{:?} {:?}", record, traits);
        prop_assert_eq!(traits.has(Traits::GONE), !is, "{:?}", record);
        prop_assert!(was || is || record.class == Class::Marker, "{:?}", record);
    }
    Ok(())
}

fn collect_marked(root: &Option<Root>, chunks: &Chunks) -> Vec<(Plain, Traits)> {
    let (mut run, mut batch, mut all) = (TreeRun::new(*root, chunks).of_layer(), RecordBatch::new(), Vec::new());
    while run.next_batch(&mut batch).unwrap() {
        for r in batch.iter() {
            let plain = Plain { key: r.key.to_vec(), group_len: r.group_len, class: r.class, body: r.body.to_vec() };
            all.push((plain, r.traits));
        }
    }
    all
}

#[test]
fn a_base_with_marks_is_refused() {
    let chunks = Chunks::default();
    let history: History = Vec::new();
    let none = night(&history, CUT, &chunks);
    let some = crate::world::run_of(vec![Plain {
        key: vec![1],
        group_len: 0,
        class: Class::Row,
        body: vec![2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    }]);
    let mut layering = Layering::new(Box::new(BeforeRun::new(some)));
    layering.push(&RecordBatch::new(), &mut |_| Ok(())).unwrap();
    let mut writer = TreeWriter::new(&chunks, &shape(2)).of_layer();
    layering.finish(&mut |record| writer.push(record)).unwrap();
    let root = writer.finish().unwrap();
    assert!(root.is_some() && none.root.is_none());
    assert_eq!(collect(&mut TreeRun::new(root, &chunks)).unwrap_err().kind(), Kind::Damaged);
}
