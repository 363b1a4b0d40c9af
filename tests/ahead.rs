//! Large values are asked for before the reader comes to them: not too many, and none that is not read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use onefold::Result;
use onefold::run::{ChunkId, ChunkKind, ChunkSource};
use onefold::tree::{self, Root, TreeRun};

use crate::large_values::{noise, row};
use crate::world::{Chunks, Plain, collect, run_of, shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Asked(ChunkId),
    Got(ChunkKind, ChunkId),
}

/// Chunks, and what was asked of them.
struct Told {
    chunks: Chunks,
    events: Mutex<Vec<Event>>,
}

impl ChunkSource for Told {
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        self.events.lock().unwrap().push(Event::Got(kind, *id));
        self.chunks.get(kind, id)
    }

    fn prefetch(&self, ids: &[ChunkId]) {
        self.events.lock().unwrap().extend(ids.iter().map(|id| Event::Asked(*id)));
    }
}

const VALUE: usize = 100_000;

/// 200 rows in leaves of ten, whose values come to 20 MB.
fn stored() -> (Told, Root, Vec<Plain>) {
    let rows: Vec<Plain> = (0..200).map(|n| row(n, 5, &noise(u64::from(n), VALUE))).collect();
    let chunks = Chunks::default();
    let root = tree::write(&mut run_of(rows.clone()), &chunks, &shape(200)).unwrap().unwrap();
    (Told { chunks, events: Mutex::default() }, root, rows)
}

fn length(told: &Told, id: &ChunkId) -> usize {
    told.chunks.0.lock().unwrap()[id].len()
}

#[test]
fn values_are_asked_for_ahead_and_within_bounds() {
    let (told, root, rows) = stored();
    assert!(collect(&mut TreeRun::new(Some(root), &told)).unwrap() == rows);
    let events = told.events.lock().unwrap().clone();
    // Where each piece was asked for first, and read.
    let (mut asked, mut pieces) = (HashMap::new(), Vec::new());
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Asked(id) => drop(asked.entry(*id).or_insert(at)),
            Event::Got(ChunkKind::Data, id) => pieces.push((at, *id)),
            Event::Got(..) => {}
        }
    }
    // A value has four pieces at most, so the fifth before one is of another value.
    let late = pieces.windows(6).filter(|some| asked[&some[5].1] > some[0].0).count();
    assert!(pieces.len() > 200 && late == 0, "{late} of {} pieces", pieces.len());
    let (mut open, mut most) = (BTreeSet::new(), 0);
    let mut bytes = 0;
    for event in &events {
        match event {
            Event::Asked(id) if open.insert(*id) => bytes += length(&told, id),
            Event::Got(_, id) if open.remove(id) => bytes -= length(&told, id),
            _ => {}
        }
        most = most.max(bytes);
    }
    assert!((4 << 20..10 << 20).contains(&most), "{most} bytes asked for and not read");
}

#[test]
fn what_is_not_read_is_not_asked_for() {
    let (told, root, rows) = stored();
    let range = (rows[70].key.clone(), rows[71].key.clone());
    let found = collect(&mut TreeRun::range(Some(root), &told, range.0, Some(range.1))).unwrap();
    assert!(found == rows[70..71]);
    let events = told.events.lock().unwrap().clone();
    let got: BTreeSet<ChunkId> =
        events.iter().filter_map(|e| if let Event::Got(_, id) = e { Some(*id) } else { None }).collect();
    let unread = events.iter().filter(|event| matches!(event, Event::Asked(id) if !got.contains(id))).count();
    assert_eq!(unread, 0);
}

#[test]
fn leaves_are_asked_for_ahead() {
    let rows: Vec<Plain> = (0..3000).map(|n| row(n, 5, &noise(u64::from(n), 20))).collect();
    let chunks = Chunks::default();
    let root = tree::write(&mut run_of(rows.clone()), &chunks, &shape(16)).unwrap().unwrap();
    let told = Told { chunks, events: Mutex::default() };
    assert!(collect(&mut TreeRun::new(Some(root), &told)).unwrap() == rows);
    let (mut open, mut leaves, mut branches, mut alone, mut most) = (BTreeSet::new(), 0, 0, 0, 0);
    for event in told.events.lock().unwrap().iter() {
        match event {
            Event::Asked(id) => assert!(open.insert(*id), "{id} twice"),
            Event::Got(ChunkKind::Leaf, id) => {
                assert!(open.remove(id), "leaf {id} was not asked for");
                leaves += 1;
            }
            // The first below a branch is read at once.
            Event::Got(ChunkKind::Branch, id) => {
                (branches, alone) = (branches + 1, alone + usize::from(!open.remove(id)))
            }
            Event::Got(..) => {}
        }
        most = most.max(open.len());
    }
    assert!(leaves > 100 && open.is_empty() && (30..=70).contains(&most), "{leaves} leaves, {most} ahead");
    assert!(branches > 20 && alone <= branches / 2, "{alone} of {branches} branches were not asked for");
}

/// Leaves of the size that tables have: what is asked for and not read stays within bounds, and comes to a good part of them.
#[test]
fn large_leaves_are_asked_for_within_bounds() {
    let rows: Vec<Plain> = (0..600).map(|n| row(n, 5, &noise(u64::from(n), 4000))).collect();
    let chunks = Chunks::default();
    let root = tree::write(&mut run_of(rows.clone()), &chunks, &shape(64)).unwrap().unwrap();
    let told = Told { chunks, events: Mutex::default() };
    assert!(collect(&mut TreeRun::new(Some(root), &told)).unwrap() == rows);
    let (mut open, mut bytes, mut most) = (BTreeSet::new(), 0, 0);
    for event in told.events.lock().unwrap().iter() {
        match event {
            Event::Asked(id) if open.insert(*id) => bytes += length(&told, id),
            Event::Got(_, id) if open.remove(id) => bytes -= length(&told, id),
            _ => {}
        }
        most = most.max(bytes);
    }
    assert!((1 << 20..16 << 20).contains(&most), "{most} bytes asked for and not read");
}
