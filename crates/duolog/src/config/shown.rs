//! How a value is written, in the form that is read back: for the documentation and its test.

use std::path::PathBuf;

use duolog_broker::when::LENGTHS;

use super::values::{
    Acked, CaptureOf, EchoOf, FilePath, HostPort, Listen, LogFormat, OrNone, Origin, SIZES, Size, Span,
};

/// How a value is written.
pub trait Shown {
    /// In the form that is read back.
    fn shown(&self) -> String;
}

macro_rules! shown {
    ($($type:ty: $self:ident => $text:expr;)*) => {$(
        impl Shown for $type {
            fn shown(&self) -> String {
                let $self = self;
                $text
            }
        }
    )*};
}

shown! {
    PathBuf: it => it.display().to_string();
    FilePath: it => it.0.display().to_string();
    String: it => it.clone();
    bool: it => it.to_string();
    u32: it => it.to_string();
    Listen: it => format!("{}={}", it.protocol, it.address);
    CaptureOf: it => format!("{}={}", it.subject, it.topic);
    EchoOf: it => format!("{}={}{}", it.topic, it.subject, if it.catch_up { " catch-up" } else { "" });
    HostPort: it => format!("{}:{}", it.host, it.port);
    Origin: it => it.0.to_string();
    Size: it => with_unit(it.0, &SIZES[..5]);
    Span: it => with_unit(it.ms(), LENGTHS);
    Acked: it => match it { Acked::Sync => "sync", Acked::Os => "os" }.to_owned();
    LogFormat: it => match it { LogFormat::Text => "text", LogFormat::Json => "json" }.to_owned();
}

impl<T: Shown> Shown for OrNone<T> {
    fn shown(&self) -> String {
        self.0.as_ref().map_or_else(|| "none".to_owned(), Shown::shown)
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        if self.is_empty() {
            return "[]".to_owned();
        }
        self.iter().map(Shown::shown).collect::<Vec<_>>().join(",")
    }
}

/// With the largest unit that divides the number evenly; the first one always does.
fn with_unit(number: u64, units: &[(&str, u64)]) -> String {
    let best = units.iter().filter(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    match best.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => format!("{number}{}", units[0].0),
    }
}
