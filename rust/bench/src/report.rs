//! Tables in Markdown.

/// The report: lines that are printed as they come, and kept.
#[derive(Default)]
pub struct Report(String);

impl Report {
    /// Adds a line.
    pub fn line(&mut self, line: &str) {
        println!("{line}");
        self.0 += line;
        self.0.push('\n');
    }

    /// Begins a table.
    pub fn table(&mut self, title: &str, columns: &[&str]) {
        self.line(&format!("\n## {title}\n"));
        self.line(&format!("| {} |", columns.join(" | ")));
        self.line(&format!("|{}", "---|".repeat(columns.len())));
    }

    /// Adds a row to the table that was begun last.
    pub fn row(&mut self, cells: &[String]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    /// All lines so far.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Seconds as microseconds.
pub fn micro(time: f64) -> String {
    format!("{:.2}", time * 1e6)
}

/// A ratio in percent.
pub fn percent(ratio: f64) -> String {
    format!("{:.0}%", 100.0 * ratio)
}
