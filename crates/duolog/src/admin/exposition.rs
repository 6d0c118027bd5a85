//! Metrics as text.
//!
//! Source: the Prometheus text exposition format 0.0.4: one HELP and TYPE per family, its samples together, label values
//! with backslash, quote and line feed escaped.

use std::fmt::{Display, Write};

/// What a family's values mean.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Rises only, from 0 at each start.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text so far.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { name: name.to_owned(), into: self }
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes any text");
    }
}

/// One family.
#[derive(Debug)]
pub struct Family<'a> {
    name: String,
    into: &'a mut Exposition,
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        let name = &self.name;
        self.into.push(format_args!("{name}"));
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let value = escaped(&value.to_string());
            self.into.push(format_args!("{open}{label}=\"{value}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.into.push(format_args!("{close} {value}\n"));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{Exposition, Kind};

    #[test]
    fn label_values_are_escaped() {
        let mut exposition = Exposition::default();
        exposition.family("lag", Kind::Gauge, "How far behind.").sample(&[("topic", &"a\"b\\c\nd")], 7);
        let expected = "# HELP lag How far behind.\n# TYPE lag gauge\nlag{topic=\"a\\\"b\\\\c\\nd\"} 7\n";
        assert_eq!(exposition.finish(), expected);
    }
}
