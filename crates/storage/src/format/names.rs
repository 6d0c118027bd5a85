//! The names in the directory: all of them ours, none chosen by a client.

/// The list of files.
pub(crate) const MANIFEST: &str = "manifest";
/// The next manifest while it is written.
pub(crate) const MANIFEST_NEXT: &str = "manifest.next";
/// What was durable when the log was last idle.
pub(crate) const WATERMARK: &str = "watermark";
const LOG_SUFFIX: &str = ".log";
const SPARE_PREFIX: &str = "spare-";

/// The file with this id.
pub(crate) fn log_name(file: u64) -> String {
    format!("{file:016x}{LOG_SUFFIX}")
}

/// The id in the name of a log file, or `None` for any other name.
pub(crate) fn log_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(LOG_SUFFIX)?;
    let id = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())??;
    // Upper case and signs parse too, and are not ours.
    (log_name(id) == name).then_some(id)
}

/// A preallocated file that holds space in reserve.
pub(crate) fn spare_name(number: u32) -> String {
    format!("{SPARE_PREFIX}{number}")
}

/// The number in the name of a spare.
pub(crate) fn spare_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix(SPARE_PREFIX)?.parse().ok()?;
    (spare_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_foreign_ones_are_not_ours() {
        assert_eq!(log_id(&log_name(0xab)), Some(0xab));
        assert_eq!(spare_number(&spare_name(1)), Some(1));
        for foreign in
            ["lock", "manifest", "00000000000000AB.log", "+0000000000000ab.log", "ab.log", "spare-01"]
        {
            assert_eq!(log_id(foreign), None, "{foreign}");
            assert_eq!(spare_number(foreign), None, "{foreign}");
        }
    }
}
