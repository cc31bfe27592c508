//! The rollup of a report too large for memory: its sums are sorted in runs, each in a temporary file, and merged in the
//! end.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write},
    net::IpAddr,
    sync::Arc,
};

use report::{Disposition, Record};
use sqlx::PgConnection;
use tokio::task::spawn_blocking;

use crate::{
    Error,
    copy::copy_rows,
    report_row::ReportKey,
    rollup::{BLOCK_SUMS_MAX, Sum, SumKey, report_sums, source_day_blocks},
    source_block::{results_number, results_of_number},
};

/// Sums of a run: about 10 MiB of memory, and fewer than a hundred files for the largest report.
const RUN_SUMS: usize = 131_072;

/// Names in a run, in bytes.
const RUN_NAME_BYTES: usize = 8 * 1024 * 1024;

/// Sums written at a time.
const WRITE_SUMS: usize = 5 * BLOCK_SUMS_MAX;

/// The sums of a report whose records come piece by piece.
#[derive(Debug, Default)]
pub(crate) struct LargeSums {
    held: Vec<HeldSum>,
    name_bytes: usize,
    runs: Vec<File>,
}

/// Messages with the same source, author domain and results; ordered as [`Sum`] is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HeldSum {
    source_ip: IpAddr,
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    disposition: Option<Disposition>,
    header_from: Option<Box<str>>,
    message_count: u64,
}

impl LargeSums {
    /// Takes over the sums of the next records.
    pub(crate) async fn add(&mut self, records: &[Record]) -> Result<(), Error> {
        let sums = report_sums(records);
        let name_bytes = |sum: &Sum<'_>| sum.key.header_from.map_or(0, str::len);
        self.name_bytes += sums.iter().map(name_bytes).sum::<usize>();
        self.held.extend(sums.iter().map(HeldSum::of));
        if self.held.len() >= RUN_SUMS || self.name_bytes >= RUN_NAME_BYTES {
            self.write_run().await?;
        }
        Ok(())
    }

    /// Writes the rollup of the report, all of whose messages belong to its day.
    pub(crate) async fn copy_to_rollup(
        mut self,
        connection: &mut PgConnection,
        key: ReportKey,
    ) -> Result<(), Error> {
        self.write_run().await?;
        let mut merge = blocking(move || Merge::new(self.runs)).await?;
        let mut source_before = None;
        loop {
            let held;
            (merge, held) = blocking(move || {
                let held = merge.next_sums(WRITE_SUMS)?;
                Ok((merge, held))
            })
            .await?;
            if held.is_empty() {
                return Ok(());
            }
            let sums: Vec<Sum<'_>> = held
                .iter()
                .map(|sum| {
                    let is_first = source_before.replace(sum.source_ip) != Some(sum.source_ip);
                    sum.sum(is_first)
                })
                .collect();
            let blocks = source_day_blocks(key.domain_id, key.day, &sums);
            copy_rows(connection, "source_day_arrivals", blocks).await?;
        }
    }

    async fn write_run(&mut self) -> Result<(), Error> {
        let mut run = std::mem::take(&mut self.held);
        self.name_bytes = 0;
        let write = move || {
            run.sort_unstable();
            let mut file = BufWriter::new(tempfile::tempfile()?);
            for sum in &run {
                sum.write(&mut file)?;
            }
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok(file)
        };
        self.runs.push(blocking(write).await?);
        Ok(())
    }
}

/// Runs what reads or writes files where it may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let result = spawn_blocking(work).await.map_err(io::Error::other);
    result
        .flatten()
        .map_err(|error| Error::TemporaryFile(Arc::new(error)))
}

/// The sums of all runs in order.
struct Merge {
    runs: Vec<BufReader<File>>,
    /// The next sum of each run that has one.
    heads: BinaryHeap<Reverse<(HeldSum, usize)>>,
}

impl Merge {
    fn new(runs: Vec<File>) -> io::Result<Self> {
        let mut merge = Self {
            runs: runs.into_iter().map(BufReader::new).collect(),
            heads: BinaryHeap::new(),
        };
        for run in 0..merge.runs.len() {
            merge.read_head(run)?;
        }
        Ok(merge)
    }

    fn read_head(&mut self, run: usize) -> io::Result<()> {
        if let Some(sum) = HeldSum::read(&mut self.runs[run])? {
            self.heads.push(Reverse((sum, run)));
        }
        Ok(())
    }

    /// The next sums, at most so many, none in the end.
    fn next_sums(&mut self, limit: usize) -> io::Result<Vec<HeldSum>> {
        let mut sums: Vec<HeldSum> = Vec::with_capacity(limit);
        while let Some(Reverse((next, _))) = self.heads.peek() {
            let is_same = sums.last().is_some_and(|last| last.place() == next.place());
            if !is_same && sums.len() == limit {
                break;
            }
            let Some(Reverse((next, run))) = self.heads.pop() else {
                break;
            };
            self.read_head(run)?;
            match sums.last_mut() {
                Some(last) if is_same => {
                    last.message_count = last.message_count.saturating_add(next.message_count);
                }
                _ => sums.push(next),
            }
        }
        Ok(sums)
    }
}

impl HeldSum {
    fn of(sum: &Sum<'_>) -> Self {
        Self {
            source_ip: sum.source_ip,
            dkim_aligned: sum.key.dkim_aligned,
            spf_aligned: sum.key.spf_aligned,
            disposition: sum.key.disposition,
            header_from: sum.key.header_from.map(Box::from),
            message_count: sum.message_count,
        }
    }

    /// The sum as one of a single report, which counts for its source at the first of the source's sums.
    fn sum(&self, is_first: bool) -> Sum<'_> {
        Sum {
            source_ip: self.source_ip,
            key: self.key(),
            message_count: self.message_count,
            report_count: 1,
            source_report_count: u32::from(is_first),
        }
    }

    fn key(&self) -> SumKey<'_> {
        SumKey {
            dkim_aligned: self.dkim_aligned,
            spf_aligned: self.spf_aligned,
            disposition: self.disposition,
            header_from: self.header_from.as_deref(),
        }
    }

    /// What sums that are added up have in common.
    fn place(&self) -> (IpAddr, SumKey<'_>) {
        (self.source_ip, self.key())
    }

    /// Message count, results, length of the name (from 1; 0 is no name) and of the address, the address, the name.
    fn write(&self, file: &mut impl Write) -> io::Result<()> {
        let name_length = self.header_from.as_ref().map_or(0, |name| name.len() + 1);
        file.write_all(&self.message_count.to_le_bytes())?;
        file.write_all(&[results_number(&self.key())])?;
        file.write_all(&(name_length as u32).to_le_bytes())?;
        match self.source_ip {
            IpAddr::V4(address) => {
                file.write_all(&[4])?;
                file.write_all(&address.octets())?;
            }
            IpAddr::V6(address) => {
                file.write_all(&[16])?;
                file.write_all(&address.octets())?;
            }
        }
        file.write_all(self.header_from.as_deref().unwrap_or_default().as_bytes())
    }

    /// `None` at the end of the file.
    fn read(file: &mut BufReader<File>) -> io::Result<Option<Self>> {
        if file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let message_count = u64::from_le_bytes(read_bytes(file)?);
        let [results] = read_bytes(file)?;
        let name_length = u32::from_le_bytes(read_bytes(file)?);
        let source_ip = match read_bytes(file)? {
            [4] => IpAddr::from(read_bytes::<4>(file)?),
            _ => IpAddr::from(read_bytes::<16>(file)?),
        };
        let header_from = match name_length.checked_sub(1) {
            None => None,
            Some(length) => {
                let mut name = vec![0; length as usize];
                file.read_exact(&mut name)?;
                let name = String::from_utf8(name).map_err(io::Error::other)?;
                Some(name.into_boxed_str())
            }
        };
        let results = results_of_number(results).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self {
            source_ip,
            dkim_aligned: results.dkim_aligned,
            spf_aligned: results.spf_aligned,
            disposition: results.disposition,
            header_from,
            message_count,
        }))
    }
}

fn read_bytes<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(
        source_ip: &str,
        dkim_aligned: Option<bool>,
        header_from: Option<&str>,
        message_count: u64,
    ) -> HeldSum {
        HeldSum {
            source_ip: source_ip.parse().unwrap(),
            dkim_aligned,
            spf_aligned: Some(false),
            disposition: Some(Disposition::Quarantine),
            header_from: header_from.map(Box::from),
            message_count,
        }
    }

    async fn merged(
        runs: impl IntoIterator<Item = Vec<HeldSum>>,
        limit: usize,
    ) -> Vec<Vec<HeldSum>> {
        let mut sums = LargeSums::default();
        for run in runs {
            sums.held = run;
            sums.write_run().await.unwrap();
        }
        let mut merge = Merge::new(sums.runs).unwrap();
        let mut parts = Vec::new();
        loop {
            let part = merge.next_sums(limit).unwrap();
            if part.is_empty() {
                return parts;
            }
            parts.push(part);
        }
    }

    #[tokio::test]
    async fn runs_are_merged_and_equal_sums_added_up() {
        let v4 = "192.0.2.1";
        let v6 = "2001:db8::1";
        let runs = [
            vec![
                sum(v6, None, None, 1),
                sum(v4, Some(true), Some("example.com"), 2),
                sum(v4, None, Some("example.com"), 3),
            ],
            vec![
                sum(v4, Some(true), Some("example.com"), 40),
                sum(v4, Some(true), Some(""), 5),
                sum(v6, None, None, u64::MAX),
            ],
            vec![],
        ];
        let expected = [
            sum(v4, None, Some("example.com"), 3),
            sum(v4, Some(true), Some(""), 5),
            sum(v4, Some(true), Some("example.com"), 42),
            sum(v6, None, None, u64::MAX),
        ];
        assert_eq!(merged(runs.clone(), 100).await, [expected.to_vec()]);
        assert_eq!(
            merged(runs, 3).await,
            [expected[..3].to_vec(), expected[3..].to_vec()],
            "what belongs together is not cut apart"
        );
    }
}
