//! Charts made of characters.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    widgets::{Sparkline, Widget as _},
};

/// The characters for the heights of a bar, from 0 to the maximum.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns a chart of one line with a character for each value. The lowest character stands for the value 0 and for no
/// other value. An unknown value is shown as a blank.
pub(super) fn spark(values: &[Option<f64>]) -> String {
    spark_of(values, most(values))
}

/// Returns a chart of one line, like [`spark`]. The highest character stands for the value `most`.
pub(super) fn spark_of(values: &[Option<f64>], most: f64) -> String {
    let level = |value: f64| {
        if value <= 0.0 || most <= 0.0 {
            return LEVELS[0];
        }
        let steps = LEVELS.iter().enumerate().skip(1);
        let mut steps = steps.map(|(step, level)| (share(step, LEVELS.len() - 1), *level));
        let fitting = steps.find(|(bound, _)| value / most <= *bound);
        fitting.map_or('█', |(_, level)| level)
    };
    let values = values.iter();
    values.map(|value| value.map_or(' ', level)).collect()
}

/// Draws a chart of several lines.
pub(super) fn chart(values: &[Option<f64>], style: Style, area: Rect, buffer: &mut Buffer) {
    /// The height of the highest bar. Heights are whole numbers; this maximum is so large that the rounding is not
    /// visible.
    const FULL: u32 = 10_000;
    let most = most(values).max(f64::MIN_POSITIVE);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bars = values
        .iter()
        .map(|value| value.map(|value| (value / most * f64::from(FULL)) as u64));
    Sparkline::default()
        .data(bars.collect::<Vec<_>>())
        .max(FULL.into())
        .absent_value_symbol(" ")
        .style(style)
        .render(area, buffer);
}

/// Returns a bar of `width` characters. `share` is the part of the bar that is filled. This part is rounded up, so that
/// a small share is visible.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
pub(super) fn bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).ceil() as usize;
    let filled = filled.min(width);
    "█".repeat(filled) + &"░".repeat(width - filled)
}

pub(super) fn most(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_visible_and_unknown_ones_blank() {
        let values = [None, Some(0.0), Some(0.1), Some(50.0), Some(100.0)];
        assert_eq!(spark(&values), " ▁▂▅█");
        assert_eq!(spark(&[Some(0.0), None]), "▁ ");
        assert_eq!(spark(&[]), "");
    }

    #[test]
    fn a_bar_has_the_given_width() {
        for (share, drawn) in [
            (0.0, "░░░░░"),
            (0.01, "█░░░░"),
            (0.5, "███░░"),
            (1.0, "█████"),
            (7.0, "█████"),
        ] {
            assert_eq!(bar(share, 5), drawn);
        }
        assert_eq!(bar(0.5, 0), "");
    }
}
