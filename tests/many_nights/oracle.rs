//! What a snapshot must give, by the plain model, and whether it does.

use std::collections::BTreeMap;

use onefold::engine::{ALL, KeyRange, Wanted};
use onefold::repo::Reader;
use onefold::run::Run;
use onefold::snapshot::Snapshot;
use onefold::view::{Side, View};
use onefold::{Error, Kind, Result};
use repo_format::record::Class;

use super::cluster::{Cluster, NODES, PARTITIONS, Trouble, Writes, clustering, group, key_value, owners, records};
use super::schema::TABLES;
use crate::dice::Dice;
use crate::world::{PLACES, Plain, Version, Write, collect, run_of};

/// A table as a snapshot must give it.
pub struct Expected {
    /// What the view comes to; what stands in for it on a night with a node away.
    pub writes: Writes,
    view: Vec<Plain>,
    with_unowned: Vec<Plain>,
    /// By node of the snapshot.
    nodes: Vec<Vec<Plain>>,
}

/// Where a cell stands: partition, row, column, element.
type Path = (u8, Option<u8>, u32, Option<u8>);

/// What a node would answer: of each cell the version that stands there, a tombstone if that has expired by `cut`. Nodes' answers are
/// merged, not their cells.
fn answer<'w>(writes: impl Iterator<Item = &'w (u8, Write)>, cut: u32) -> Writes {
    let mut out = Writes::new();
    let mut cells: BTreeMap<Path, &Version> = BTreeMap::new();
    for (partition, write) in writes {
        let Write::Cell(place, column, element, version) = write else {
            out.push((*partition, write.clone()));
            continue;
        };
        let best = cells.entry((*partition, *place, *column, *element)).or_insert(version);
        if version.rank() > best.rank() {
            *best = version;
        }
    }
    out.extend(cells.into_iter().map(|((partition, place, column, element), version)| {
        let version = if column == 0 { version.clone() } else { version.clone().at(cut) };
        (partition, Write::Cell(place, column, element, version))
    }));
    out
}

/// What a night's snapshot must give of a table: `before`, what stands in for what was not read.
pub fn expect(cluster: &Cluster, table: usize, trouble: &Trouble, cut: u32, before: Option<&Writes>) -> Expected {
    let of = TABLES[table].read(cluster.stage);
    let (mut owned, mut all, mut nodes) = (Writes::new(), Writes::new(), Vec::new());
    for node in (0..NODES).filter(|node| !trouble.away.contains(node)) {
        let files = cluster.files[node][table].iter().enumerate();
        let read = files.filter(|(at, _)| trouble.damaged != Some((node, table, *at)));
        let writes = answer(read.flat_map(|(_, file)| &file.writes), cut);
        nodes.push(records(&of, &writes, true, Some(cut)));
        owned.extend(writes.iter().filter(|(partition, _)| owners(*partition, table).contains(&node)).cloned());
        all.extend(writes);
    }
    if let Some(before) = before {
        let before = answer(before.iter(), cut);
        owned.extend(before.iter().cloned());
        all.extend(before);
    }
    let view = records(&of, &owned, true, Some(cut));
    let with_unowned = records(&of, &all, true, Some(cut));
    // Each deletion once: what stands in grows no more than what it says.
    let mut writes = answer(owned.iter(), cut);
    let mut once = Writes::new();
    writes.retain(|write| {
        let is_cell = matches!(write.1, Write::Cell(..));
        let known = !is_cell && once.contains(write);
        if !is_cell && !known {
            once.push(write.clone());
        }
        !known
    });
    Expected { writes, view, with_unowned, nodes }
}

/// The records of a run in a range, preceded by those that say what is in force where it begins inside a group. `None` where a row
/// stands there, and leaves no key for a deletion.
fn cut_of(all: &[Plain], (from, to): &KeyRange) -> Option<Vec<Plain>> {
    if !to.is_empty() && from >= to {
        return Some(Vec::new());
    }
    let inside: Vec<Plain> = all.iter().filter(|r| r.key >= *from && (to.is_empty() || r.key < *to)).cloned().collect();
    let group_of = |r: &&Plain| from.len() > r.group_len && from.starts_with(&r.key[..r.group_len]);
    let before: Vec<&Plain> = all.iter().filter(|r| r.key < *from).filter(group_of).collect();
    let in_force = |class| {
        let last = before.iter().rfind(|r| r.class == class);
        last.filter(|r| !r.body.is_empty()).map(|r| (*r).clone())
    };
    let mut said: Vec<Plain> = Vec::new();
    said.extend(in_force(Class::Group).map(|r| Plain { key: r.key[..r.group_len].to_vec(), ..r }));
    let first = inside.first().filter(|r| r.key == *from);
    if let Some(open) = in_force(Class::Marker) {
        match first.map(|r| r.class) {
            Some(Class::Marker) => {}
            Some(_) => return None,
            None => said.push(Plain { key: from.clone(), ..open }),
        }
    }
    said.extend(inside);
    Some(said)
}

/// Compares, and says the first place where they differ.
fn same(got: &[Plain], wanted: &[Plain], what: &str) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    let at = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let short =
        |r: Option<&Plain>| r.map(|r| (r.key.clone(), r.class, r.body.iter().take(60).copied().collect::<Vec<_>>()));
    panic!(
        "{what}: {} records for {}; at {at} {:02x?} for {:02x?}",
        got.len(),
        wanted.len(),
        short(got.get(at)),
        short(wanted.get(at))
    )
}

fn bound(dice: &mut Dice, view: &[Plain]) -> Vec<u8> {
    let any = view.get(dice.below(view.len() as u64) as usize).map(|r| r.key.clone()).unwrap_or_default();
    let partition = group(dice.below(u64::from(PARTITIONS)) as u8);
    match dice.below(5) {
        0 => Vec::new(),
        1 => any,
        // Behind a record, where nothing stands.
        2 => [any, vec![0]].concat(),
        3 => partition,
        _ => [partition, vec![2, 0x40, 0x80, 0, 0, dice.below(u64::from(PLACES) + 2) as u8, 0x20]].concat(),
    }
}

/// Reads a table of a snapshot in every way there is.
///
/// Errors: what reading gives. What comes out and is not what must come out ends the test.
pub fn check(s: &Snapshot, table: usize, reader: &Reader, wanted: &Expected, dice: &mut Dice) -> Result<()> {
    let name = TABLES[table].full();
    let shard = s.shard(&name)?;
    let view = View::open(ALL[0], s, shard, reader)?;
    same(&collect(&mut *view.run()?)?, &wanted.view, &format!("{name} as a whole"))?;
    let sides = [(Side::Reconciled, &wanted.view, 4), (Side::WithUnowned, &wanted.with_unowned, 1)];
    let unowned = view.clone().of(Side::WithUnowned);
    same(&collect(&mut *unowned.run()?)?, &wanted.with_unowned, &format!("{name} with what no owner has"))?;
    if s.node_views {
        for (node, wanted) in wanted.nodes.iter().enumerate() {
            let what = format!("{name} of node {}", s.nodes[node].name);
            same(&collect(&mut *view.clone().of(Side::Node(node)).run()?)?, wanted, &what)?;
        }
    }
    // Of other sides everything is read for each.
    for (side, all, times) in sides {
        let view = view.clone().of(side);
        for _ in 0..2 * times {
            let (a, b) = (bound(dice, all), bound(dice, all));
            range(&view, all, if b.is_empty() || a <= b { (a, b) } else { (b, a) }, &name)?;
        }
        for _ in 0..times {
            select(&view, all, dice)?;
        }
    }
    Ok(())
}

fn range(view: &View<'_>, all: &[Plain], range: KeyRange, name: &str) -> Result<()> {
    let got = collect_of(view.ranges(Box::new(std::iter::once(range.clone()))));
    match (got, cut_of(all, &range)) {
        (Ok(got), Some(wanted)) => same(&got, &wanted, &format!("{name} in {range:02x?}")),
        // Below the layers a row stood there, or stands there now.
        (Err(e), _) if e.kind() == Kind::Unsupported => {
            let is_row = range.0.last() == Some(&0x38);
            if is_row { Ok(()) } else { panic!("{name} in {range:02x?}: {e}") }
        }
        (Ok(_), None) => panic!("{name} in {range:02x?}: a deletion was passed over"),
        (Err(e), _) => Err(e),
    }
}

fn collect_of(run: Result<Box<dyn Run + '_>>) -> Result<Vec<Plain>> {
    collect(&mut *run?)
}

/// A look-up: what it reads is held against the same cut of the model.
fn select(view: &View<'_>, all: &[Plain], dice: &mut Dice) -> Result<()> {
    let partition = dice.below(u64::from(PARTITIONS)) as u8;
    let c = clustering(dice.below(u64::from(PLACES)) as u8);
    let conditions = match dice.below(3) {
        0 => format!("k = {}", key_value(partition)),
        1 => format!("k = {} AND c = {c}", key_value(partition)),
        _ => format!("k = {} AND c >= {c} AND c < {}", key_value(partition), c + 4),
    };
    let selection = view.select(&conditions)?;
    let got = collect_of(view.records(Some(&*selection)))?;
    let mut wanted = Vec::new();
    for range in selection.reads(Wanted::Records)? {
        let part = cut_of(all, &range);
        wanted.extend(part.unwrap_or_else(|| panic!("{conditions}: begins at a row that a deletion covers")));
    }
    if !conditions.contains("AND") {
        let inside: Vec<Plain> = all.iter().filter(|r| r.key.starts_with(&group(partition))).cloned().collect();
        same(&wanted, &inside, &conditions)?;
    }
    let wanted = collect(&mut *selection.cut(run_of(wanted), Wanted::Records))?;
    same(&got, &wanted, &conditions)
}

/// Whether an error says that something is lost.
pub fn is_loss(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::NotFound)
}
