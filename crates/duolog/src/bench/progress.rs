//! A bar on standard error while a measurement runs; nothing where nobody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `total` steps.
pub fn bar(what: &str, total: u64) -> ProgressBar {
    // Twice a second: drawing costs the measured machine little.
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(2));
    let style =
        ProgressStyle::with_template("{prefix:>14} {bar:40} {human_pos}/{human_len}  {per_sec}  {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
