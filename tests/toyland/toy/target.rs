//! Tables given back as an archive: one node that owns everything.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use onefold::engine::target::{Asked, Target};
use onefold::report::Report;
use onefold::run::RecordBatch;
use onefold::{Error, Kind, Result};

use super::schema::{text, value};

/// An archive in the making. Until all is written it has another name.
pub struct Into<'a> {
    asked: &'a Asked<'a>,
    out: PathBuf,
    file: Option<BufWriter<File>>,
}

impl<'a> Into<'a> {
    /// Writes what is asked for to `--out`.
    pub fn new(asked: &'a Asked<'a>) -> Result<Into<'a>> {
        let missing = || Error::new(Kind::Usage, "restore --to toy", "needs --out, the archive to be made");
        Ok(Into { asked, out: asked.out.ok_or_else(missing)?.to_owned(), file: None })
    }

    fn unfinished(&self) -> PathBuf {
        self.out.with_extension("unfinished")
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{line}").map_err(|e| Error::io(self.out.display(), e))
    }
}

impl Target for Into<'_> {
    fn plan(&mut self) -> Result<Report> {
        if self.out.exists() {
            return Err(Error::new(Kind::Usage, self.out.display(), "is there already"));
        }
        if !self.asked.dry_run {
            let file = File::create(self.unfinished()).map_err(|e| Error::io(self.out.display(), e))?;
            self.file = Some(BufWriter::new(file));
        }
        self.line(&format!("#toy captured {}", self.asked.cut))?;
        Ok(Report::default())
    }

    fn write(&mut self, place: usize) -> Result<Report> {
        let stored = &self.asked.shards[place];
        let mut run = stored.read(true)?;
        self.line(&format!("#table {}\n#owns ! -\n#part 1", stored.name))?;
        let mut batch = RecordBatch::new();
        while run.next_batch(&mut batch)? {
            for record in batch.iter() {
                let key = text(record.key)?;
                match value(&record)? {
                    Some(value) => self.line(&format!("{key}\t{value}"))?,
                    None => self.line(key)?,
                }
            }
        }
        Ok(Report::default())
    }

    fn finish(&mut self) -> Result<Report> {
        if let Some(mut file) = self.file.take() {
            let written = file.flush().and_then(|()| fs::rename(self.unfinished(), &self.out));
            written.map_err(|e| Error::io(self.out.display(), e))?;
        }
        Ok(Report::default())
    }
}
