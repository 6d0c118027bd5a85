//! Tables and values as people read them.

use serde_json::Value;

use duolog_broker::when;

/// Longest cell: a name may have 249 characters, and `--json` has all of them.
const CELL_CHARS: usize = 80;

/// Columns under their headings; numbers to the right.
pub struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// One row, a cell per heading.
    pub fn row(&mut self, mut cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        for cell in &mut cells {
            if let Some((end, _)) = cell.char_indices().nth(CELL_CHARS) {
                cell.truncate(end);
                cell.push('…');
            }
        }
        self.rows.push(cells);
    }

    /// The text, or `empty` if there is no row.
    pub fn show(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(self.headings[column].len())
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // The first column holds names.
                let right = column > 0 && self.rows.iter().all(|row| is_number(&row[column]));
                let cell = if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line += &cell;
                line += "  ";
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

fn is_number(cell: &str) -> bool {
    cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit())
}

/// `name  value` lines.
pub fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// The items of a list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value without quotes; nothing is `-`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The beginning of a text, without what would break the table.
pub fn one_line(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut line: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

/// Bytes with a unit.
pub fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_u64() else { return plain(value) };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut shown = bytes as f64;
    let mut unit = 0;
    while shown >= 1024.0 && unit + 1 < units.len() {
        shown /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{shown:.1} {}", units[unit]) }
}

/// Milliseconds as a length of time, its two largest units.
pub fn span(value: &Value) -> String {
    let Some(ms) = value.as_u64() else { return plain(value) };
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut parts = Vec::new();
    let mut left = ms;
    for (factor, unit) in units {
        if left >= factor {
            parts.push(format!("{}{unit}", left / factor));
            left %= factor;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Milliseconds since the epoch as a time.
pub fn time(value: &Value) -> String {
    value.as_i64().map_or_else(|| plain(value), when::shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Table, bytes, span};

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(&["NAME", "RECORDS"]);
        table.row(vec!["orders".to_owned(), "12".to_owned()]);
        table.row(vec!["a".to_owned(), "1234567".to_owned()]);
        assert_eq!(table.show("none"), "NAME    RECORDS\norders       12\na       1234567\n");
        let mut table = Table::new(&["NAME"]);
        table.row(vec!["ü".repeat(249)]);
        assert_eq!(table.show("none"), format!("NAME\n{}…\n", "ü".repeat(80)));
        assert_eq!(Table::new(&["NAME"]).show("none"), "none\n");
    }

    #[test]
    fn values_carry_the_unit_that_fits() {
        assert_eq!(bytes(&json!(1023)), "1023 B");
        assert_eq!(bytes(&json!(1536)), "1.5 KiB");
        assert_eq!(span(&json!(90_061_000)), "1d 1h");
        assert_eq!(span(&json!(0)), "0s");
        assert_eq!(span(&json!(null)), "-");
    }
}
