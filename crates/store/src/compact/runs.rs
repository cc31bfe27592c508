//! What is merged with what.
//!
//! Rows that were written together are a run: they follow each other in order of source and do not overlap. New sums
//! become a run of their own or are merged with runs that are there. Merging keeps answers quick, but writes again what
//! is already stored, so new sums are only merged with runs that are not much larger than themselves.

use std::{collections::HashMap, hash::Hash, ops::Range};

use crate::{compact::sums::MovedSum, rollup::BLOCK_SUMS_MAX};

/// Sums that are merged at a time. A place with more keeps several runs.
pub(super) const MERGED_SUMS_MAX: i64 = 150_000;

/// When new sums are merged with runs of their place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// How many times as large as what is merged with it a run may be.
    pub(super) ratio: i64,
    /// With fewer runs it is left alone.
    pub(super) runs_min: i64,
}

/// All runs of one size in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) run_sum_count: i32,
    /// Sums in all of them together.
    pub(super) sum_count: i64,
}

/// The runs with which new sums are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// The size of the largest; all that are not larger belong to it. 0 when there are none.
    pub(super) run_sum_count_max: i32,
    /// Sums in all of them together.
    pub(super) sum_count: i64,
}

impl Rule {
    /// Which of the runs, the smallest first, so many new sums are merged with.
    pub(super) fn merged(&self, new_sum_count: usize, runs: &[Runs]) -> Merged {
        let mut merged = Merged::default();
        let mut run_count = 0;
        for runs in runs {
            let total = new_sum_count as i64 + merged.sum_count;
            if i64::from(runs.run_sum_count) > self.ratio.saturating_mul(total)
                || total + runs.sum_count > MERGED_SUMS_MAX
            {
                break;
            }
            merged.run_sum_count_max = runs.run_sum_count;
            merged.sum_count += runs.sum_count;
            run_count += (runs.sum_count / i64::from(runs.run_sum_count).max(1)).max(1);
        }
        if run_count < self.runs_min {
            return Merged::default();
        }
        merged
    }
}

/// New sums of one place.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Which of the new sums they are.
    pub(super) new: Range<usize>,
    pub(super) merged: Merged,
}

/// The new sums place by place, in which order they are, and what each place is merged with.
pub(super) fn parts<P: Eq + Hash>(
    new: &[MovedSum],
    place: fn(&MovedSum) -> P,
    runs: &HashMap<P, Vec<Runs>>,
    rule: &Rule,
) -> Vec<Part> {
    let mut start = 0;
    new.chunk_by(|a, b| place(a) == place(b))
        .map(|sums| {
            let stored = runs.get(&place(&sums[0])).map_or(&[][..], Vec::as_slice);
            let part = Part {
                new: start..start + sums.len(),
                merged: rule.merged(sums.len(), stored),
            };
            start = part.new.end;
            part
        })
        .collect()
}

/// Puts consecutive parts together that are merged at a time.
pub(super) fn batches(parts: &[Part]) -> Vec<&[Part]> {
    let mut batches = Vec::new();
    let (mut start, mut total) = (0, 0);
    for (place, part) in parts.iter().enumerate() {
        let sum_count = part.new.len() as i64 + part.merged.sum_count;
        if total + sum_count > MERGED_SUMS_MAX && start < place {
            batches.push(&parts[start..place]);
            (start, total) = (place, 0);
        }
        total += sum_count;
    }
    if start < parts.len() {
        batches.push(&parts[start..]);
    }
    batches
}

/// A row to be written.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Sums in its run.
    pub(super) run_sum_count: i32,
    /// Which of the sums it has.
    pub(super) sums: Range<usize>,
}

/// The rows for sums of which those of each place are a run.
pub(super) fn rows<P: Eq>(sums: &[MovedSum], place: fn(&MovedSum) -> P) -> Vec<Row> {
    let mut rows = Vec::with_capacity(sums.len() / BLOCK_SUMS_MAX + 1);
    let mut start = 0;
    for run in sums.chunk_by(|a, b| place(a) == place(b)) {
        for sums in run.chunks(BLOCK_SUMS_MAX) {
            rows.push(Row {
                run_sum_count: run.len() as i32,
                sums: start..start + sums.len(),
            });
            start += sums.len();
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(sizes: &[(i32, i64)]) -> Vec<Runs> {
        let runs = sizes.iter().map(|(run_sum_count, sum_count)| Runs {
            run_sum_count: *run_sum_count,
            sum_count: *sum_count,
        });
        runs.collect()
    }

    #[test]
    fn small_runs_are_merged_and_draw_larger_ones_in() {
        let rule = Rule {
            ratio: 4,
            runs_min: 1,
        };
        let merged = |new, sizes: &[(i32, i64)]| rule.merged(new, &runs(sizes)).sum_count;
        assert_eq!(merged(10, &[]), 0);
        assert_eq!(merged(10, &[(40, 40)]), 40);
        assert_eq!(merged(10, &[(41, 41)]), 0);
        assert_eq!(merged(10, &[(40, 40), (200, 200), (1001, 1001)]), 240);
        assert_eq!(
            merged(100_000, &[(50_001, 50_001)]),
            0,
            "more than fits into memory"
        );
    }

    #[test]
    fn few_runs_are_left_alone() {
        let rule = Rule {
            ratio: 1,
            runs_min: 3,
        };
        let merged = |sizes: &[(i32, i64)]| rule.merged(10, &runs(sizes)).run_sum_count_max;
        assert_eq!(merged(&[(10, 20)]), 0, "two runs of ten");
        assert_eq!(merged(&[(10, 30)]), 10, "three runs of ten");
        assert_eq!(merged(&[(10, 20), (25, 25)]), 25);
    }

    #[test]
    fn batches_hold_every_part_once() {
        let part = |start: usize, new: usize, merged: i64| Part {
            new: start..start + new,
            merged: Merged {
                run_sum_count_max: 1,
                sum_count: merged,
            },
        };
        let parts = [
            part(0, 10, 149_990),
            part(10, 1, 0),
            part(11, 1, 10),
            part(12, 200_000, 0),
        ];
        let lengths: Vec<usize> = batches(&parts).iter().map(|batch| batch.len()).collect();
        assert_eq!(lengths, [1, 2, 1]);
        assert!(batches(&[]).is_empty());
    }
}
