//! Decodes every SSTable under a folder and says how fast: `decode DIR [ROUNDS]`. For measuring, and for a first look
//! at files of unknown origin; the schema is taken from the files themselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use onefold::engine::cassandra::sstable::{self, Component, Descriptor, READ_BUFFER, SsTable, layout};
use onefold::error::Result;
use onefold::run::{RecordBatch, Run};

#[derive(Default)]
struct Totals {
    files: u64,
    plain: u64,
    records: u64,
    body: u64,
    time: Duration,
}

fn decode(directory: &Path, descriptor: &Descriptor, totals: &mut Totals) -> Result<()> {
    let (statistics, _) = sstable::read_statistics(&directory.into(), descriptor)?;
    let table = layout::table_of(&statistics.header)?;
    let start = Instant::now();
    let mut run = SsTable::open(&directory.into(), descriptor, &table)?.run(READ_BUFFER)?;
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        totals.records += batch.len() as u64;
        totals.body += batch.iter().map(|r| r.body.len() as u64).sum::<u64>();
    }
    totals.time += start.elapsed();
    totals.plain += run.position();
    totals.files += 1;
    Ok(())
}

fn walk(directory: &Path, found: &mut Vec<(PathBuf, Descriptor)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else if let Some((descriptor, Component::Data)) = Descriptor::parse(&entry.file_name().to_string_lossy()) {
            found.push((directory.to_path_buf(), descriptor));
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout, clippy::unwrap_used)]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or(".".into()));
    let rounds: u32 = arguments.next().map_or(1, |n| n.parse().unwrap());
    let mut found = Vec::new();
    walk(&directory, &mut found).unwrap();
    found.sort();
    let mut by_directory: Vec<(PathBuf, Totals)> = Vec::new();
    for (directory, descriptor) in &found {
        if by_directory.last().is_none_or(|(last, _)| last != directory) {
            by_directory.push((directory.clone(), Totals::default()));
        }
        let totals = &mut by_directory.last_mut().unwrap().1;
        for _ in 0..rounds {
            if let Err(error) = decode(directory, descriptor, totals) {
                println!("{error}");
            }
        }
    }
    for (directory, t) in &by_directory {
        let seconds = t.time.as_secs_f64();
        println!(
            "{:60} {:3} files {:10} records {:12} plain {:12} bodies {:7.3} s {:6.3} GB/s {:7.1} ns/record",
            directory.display(),
            t.files,
            t.records,
            t.plain,
            t.body,
            seconds,
            t.plain as f64 / seconds / 1e9,
            seconds * 1e9 / t.records as f64
        );
    }
}
