//! The help: a box over the screen that lists the keys.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Widget as _},
};

use super::{Theme, cut};
use crate::cli::top::{input::KEYS, model::Sort};

const WIDTH: u16 = 66;

pub(super) fn draw(area: Rect, buffer: &mut Buffer) {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (keys, does) in KEYS {
        let keys = Span::styled(format!(" {keys:<17} "), Theme::heading());
        lines.push(Line::from(vec![keys, Span::from(does)]));
    }
    for sort in Sort::ALL {
        let keys = Span::styled(format!(" {:<17} ", sort.key()), Theme::heading());
        let does = format!("sort {}", sort.label());
        lines.push(Line::from(vec![keys, Span::from(does)]));
    }
    let keys = Span::styled(format!(" {:<17} ", "r"), Theme::heading());
    lines.push(Line::from(vec![keys, Span::from("reverse the order")]));
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let middle = area.centered(Constraint::Length(WIDTH), Constraint::Length(height));
    Clear.render(middle, buffer);
    let title = cut(" Keys ", usize::from(middle.width.saturating_sub(2)));
    Paragraph::new(lines)
        .block(Block::bordered().title(title))
        .render(middle, buffer);
}
