//! Counting what passed, failed and was skipped.

use crate::process::Finished;

/// The counts of a run, with the names of what failed and what was skipped.
#[derive(Default)]
pub struct Report {
    passed: usize,
    failures: Vec<String>,
    failed: usize,
    skipped: Vec<String>,
}

impl Report {
    /// Counts a step that passes or fails as a whole.
    pub fn step(&mut self, name: &str, success: bool) {
        if success {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// Counts what a test runner printed: the summaries of cargo (`test result: ok. 3 passed; 0 failed; 1 ignored; ..`)
    /// and of this project's Julia suites (`3 passed, 0 failed, 1 skipped`, with `skipped: NAME` lines before). A run
    /// that failed without saying how counts as one failure.
    pub fn suite(&mut self, name: &str, finished: &Finished) {
        let failed_before = self.failed;
        for line in &finished.lines {
            let line = line.trim();
            if let Some(skipped) = line.strip_prefix("skipped: ") {
                self.skipped.push(format!("{name}: {skipped}"));
            } else if let Some(test) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... ignored")) {
                self.skipped.push(format!("{name}: {test}"));
            } else if let Some((test, reason)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ignored, "))
            {
                self.skipped.push(format!("{name}: {test}: {reason}"));
            } else if line.starts_with("test result: ") || line.ends_with(" skipped") {
                let count = |what: &str| count_before(line, what);
                self.passed += count("passed");
                self.failed += count("failed");
            }
        }
        if !finished.success && self.failed == failed_before {
            self.failed += 1;
        }
        if self.failed > failed_before {
            self.failures.push(name.to_owned());
        }
    }

    /// Notes something that could not be run, and why.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push(format!("{name}: {reason}"));
    }

    /// Prints the closing lines; true if nothing failed.
    pub fn close(self) -> bool {
        println!();
        self.skipped.iter().for_each(|name| println!("skipped: {name}"));
        self.failures.iter().for_each(|name| println!("FAILED: {name}"));
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len());
        self.failed == 0
    }
}

/// The number in front of a word: 3 for `passed` in `ok. 3 passed; ..`.
fn count_before(line: &str, word: &str) -> usize {
    let words: Vec<&str> = line.split_whitespace().collect();
    let position = words.iter().position(|w| w.trim_end_matches([';', ',']) == word);
    position.and_then(|i| words.get(i.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted() {
        let mut report = Report::default();
        let lines = [
            "test a ... ok",
            "test b ... ignored, needs HiGHS",
            "test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured",
            "skipped: Gen",
            "5 passed, 0 failed, 1 skipped",
        ];
        report.suite("s", &Finished { success: false, lines: lines.map(str::to_owned).to_vec() });
        assert_eq!((report.passed, report.failed), (8, 1));
        assert_eq!(report.skipped, ["s: b: needs HiGHS", "s: Gen"]);
        report.suite("t", &Finished { success: false, lines: Vec::new() });
        assert_eq!((report.failed, report.failures.len()), (2, 2));
    }
}
