//! Records to partitions: heads, rows, the bounds of range deletions.

use super::*;

impl SsTableWriter {
    /// Settles the header's times and writes the first records.
    pub(super) fn begin(&mut self) -> Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let mut least = None;
        for record in first.iter() {
            let mut entries = Entries::new(record.body);
            while let Some(entry) = entries.next_entry()? {
                if entry.kind != EntryKind::Raw {
                    least = Some(least.map_or(entry.time, |least: i64| least.min(entry.time)));
                }
            }
        }
        self.times = Times::new(self.options.version, self.options.late_times, least.unwrap_or(TIME_EPOCH));
        first.iter().try_for_each(|record| self.write(&record))
    }

    #[inline]
    pub(super) fn write(&mut self, record: &Record<'_>) -> Result<()> {
        if record.group() != &self.partition.group[..] {
            self.end_partition()?;
            self.partition.group.extend_from_slice(record.group());
        }
        match record.class {
            Class::Row => self.row(record),
            Class::Static => self.static_row(record),
            Class::Marker => self.marker(record),
            Class::Group => self.partition_deletion(record),
        }
        .map_err(|e| match shown::key(self.columns.clone(), record) {
            Ok(key) => e.within(key.get()),
            Err(_) => e,
        })
        .map_err(|e| e.within(&self.descriptor))
    }

    fn partition_deletion(&mut self, record: &Record<'_>) -> Result<()> {
        let Some(Deletion { time, ldt }) = deletion_of(record)? else {
            return Err(Error::damaged("partition", "a deletion without times"));
        };
        let deletion = Deletion { time, ldt: self.times.fit(ldt, Of::Partition)? };
        if !self.times.holds_whole(Some(deletion)) {
            let message = format_args!("deleted at {time} microseconds, before 1970, which version oa cannot hold");
            return Err(Error::new(Kind::Unsupported, "partition", message).hint("write version nb"));
        }
        self.partition.deletion = Some(deletion);
        self.facts.partition_deletion(deletion);
        self.start_partition(record)
    }

    fn static_row(&mut self, record: &Record<'_>) -> Result<()> {
        let mut context = Context { layout: &self.layout, times: &mut self.times, facts: &mut self.facts };
        if !self.encoder.row(&mut context, ColumnRole::Static, record)? {
            return Ok(());
        }
        if self.layout.statics.is_empty() {
            return Err(Error::damaged("static row", "the table has no static column"));
        }
        self.start_partition(record)?;
        self.put_static_row()
    }

    /// Writes the static row that the encoder holds.
    fn put_static_row(&mut self) -> Result<()> {
        let Some((data, _)) = &mut self.open else { return Ok(()) };
        self.bytes.clear();
        self.encoder.put(&mut self.bytes, 0);
        data.write(&self.bytes)?;
        self.partition.head = Some(data.position() - self.partition.start);
        Ok(())
    }

    #[inline]
    fn row(&mut self, record: &Record<'_>) -> Result<()> {
        let mut context = Context { layout: &self.layout, times: &mut self.times, facts: &mut self.facts };
        if !self.encoder.row(&mut context, ColumnRole::Regular, record)? {
            return Ok(());
        }
        self.end_head(record)?;
        let open = self.partition.open;
        self.put_unfiltered(&[clustering::ROW], &record.key[record.group_len..], open)
    }

    fn marker(&mut self, record: &Record<'_>) -> Result<()> {
        let opens = match deletion_of(record)? {
            Some(Deletion { time, ldt }) => Some(Deletion { time, ldt: self.times.fit(ldt, Of::Deletion)? }),
            None => None,
        };
        self.bound(&record.key[record.group_len..], opens, Some(record))
    }

    /// What holds from the position `suffix` on becomes `opens`.
    fn bound(&mut self, suffix: &[u8], opens: Option<Deletion>, record: Option<&Record<'_>>) -> Result<()> {
        let closes = self.partition.open;
        if closes == opens {
            return Ok(());
        }
        let (position, key) = comparable::position(suffix)?;
        let after = match position {
            Position::Before => false,
            Position::After => true,
            other => return Err(Error::damaged("range deletion", format_args!("stands at {other:?}"))),
        };
        let Some(bound) = Bound::of(after, closes.is_some(), opens.is_some()) else { return Ok(()) };
        if let Some(record) = record {
            self.end_head(record)?; // before the marker, since it may need the encoder
        }
        let mut context = Context { layout: &self.layout, times: &mut self.times, facts: &mut self.facts };
        self.encoder.marker(&mut context, bound, key, closes, opens)?;
        self.partition.open = opens;
        self.put_unfiltered(&[], suffix, opens)
    }

    /// Writes what the encoder holds: a row or a marker at `suffix`, of that kind, behind which `open` holds.
    #[inline]
    fn put_unfiltered(&mut self, kind: &[u8], suffix: &[u8], open: Option<Deletion>) -> Result<()> {
        let Some((data, index)) = &mut self.open else { return Ok(()) };
        let partition = &mut self.partition;
        let start = data.position() - partition.start;
        self.bytes.clear();
        self.encoder.put(&mut self.bytes, start - partition.previous);
        data.write(&self.bytes)?;
        partition.previous = start;
        let end = data.position() - partition.start;
        index.blocks.add(kind, self.encoder.prefix(), start, end, open, self.times.holds_whole(open));
        if partition.first.is_empty() {
            partition.first.extend_from_slice(suffix);
        }
        partition.last.clear();
        partition.last.extend_from_slice(suffix);
        Ok(())
    }

    fn start_partition(&mut self, record: &Record<'_>) -> Result<()> {
        if self.partition.started {
            return Ok(());
        }
        let Some((data, _)) = &mut self.open else { return Ok(()) };
        let partition = &mut self.partition;
        partition.key = comparable::split(record.key)?.partition_key;
        partition.start = data.position();
        partition.started = true;
        self.bytes.clear();
        if !put::short_bytes(&mut self.bytes, &partition.key) {
            let message = format_args!("a key of {} bytes; 65535 are the most", partition.key.len());
            return Err(Error::new(Kind::TooLarge, "partition", message));
        }
        self.times.put_whole_deletion(&mut self.bytes, partition.deletion);
        data.write(&self.bytes)?;
        if self.layout.statics.is_empty() {
            partition.head = Some(self.bytes.len() as u64);
        }
        Ok(())
    }

    /// Writes the partition's head and static row, if that is still to be done. The encoder may hold a row.
    #[inline]
    fn end_head(&mut self, record: &Record<'_>) -> Result<()> {
        if self.partition.head.is_some() {
            return Ok(());
        }
        self.start_partition(record)?;
        if self.partition.head.is_some() {
            return Ok(());
        }
        let row = std::mem::take(&mut self.encoder);
        self.encoder.empty_static_row(&self.layout);
        self.put_static_row()?;
        self.encoder = row;
        Ok(())
    }

    pub(super) fn end_partition(&mut self) -> Result<()> {
        if self.partition.open.is_some() {
            // The run ends in the middle of a range deletion: after all rows.
            self.bound(&comparable::end_of_rows(), None, None)?;
        }
        if self.partition.started {
            if self.partition.head.is_none() {
                self.encoder.empty_static_row(&self.layout);
                self.put_static_row()?;
            }
            let Some((data, index)) = &mut self.open else { return Ok(()) };
            let Partition { key, start, deletion, head, first, last, .. } = &self.partition;
            let end = data.position() - start;
            data.write(&[rows::END_OF_PARTITION])?;
            self.facts.partition(key, end + 1, first, last);
            index.partition(&self.times, key, *start, head.unwrap_or(0), *deletion, end)?;
        }
        let partition = &mut self.partition;
        partition.group.clear();
        partition.first.clear();
        partition.last.clear();
        (partition.started, partition.deletion, partition.head, partition.previous) = (false, None, None, 0);
        Ok(())
    }
}

/// The one deletion of a partition's or marker's record.
fn deletion_of(record: &Record<'_>) -> Result<Option<Deletion>> {
    match Entries::new(record.body).next_entry()? {
        None => Ok(None),
        Some(e) if e.kind == EntryKind::Deletion => Ok(Some(Deletion { time: e.time, ldt: e.ldt })),
        Some(_) => Err(Error::damaged("deletion", "a cell where it belongs")),
    }
}
