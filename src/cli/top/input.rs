//! The keys of `top` and their effects.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::model::{Model, Screen, Sort};

/// The decision after an input event: continue or quit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Leave,
}

/// The number of rows by which `PgUp` and `PgDn` move.
const PAGE: isize = 10;

/// The keys with their descriptions in the help.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("Up Down, k j", "move the selection; scroll in a list"),
    ("PgUp PgDn, g G", "move by ten; to the first, to the last"),
    ("Enter", "show the history of the selected sink"),
    ("w", "show who sends"),
    ("Left Right, h l", "in a history: previous sink, next sink"),
    ("Esc, Backspace", "back"),
    ("?", "show or hide this help"),
    ("q, Ctrl-C", "quit"),
];

/// Applies an input event to the model.
pub(super) fn on(model: &mut Model, event: &Event) -> Flow {
    match event {
        Event::Key(key) if !key.is_release() => on_key(model, *key),
        // A resize needs no action here, because every event is followed by a redraw.
        _ => Flow::Continue,
    }
}

fn on_key(model: &mut Model, key: KeyEvent) -> Flow {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Flow::Leave,
            _ => Flow::Continue,
        };
    }
    match key.code {
        KeyCode::Char('q') => return Flow::Leave,
        KeyCode::Char('?') => model.help = !model.help,
        KeyCode::Esc | KeyCode::Backspace if model.help => model.help = false,
        KeyCode::Esc | KeyCode::Backspace => model.screen = Screen::Sinks,
        _ if model.help => {}
        code => move_about(model, code),
    }
    Flow::Continue
}

fn move_about(model: &mut Model, code: KeyCode) {
    let rows = match code {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -PAGE,
        KeyCode::PageDown => PAGE,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => 0,
    };
    match (model.screen, code) {
        (Screen::Sinks, KeyCode::Enter) => {
            // This selects the current sink by its name, so that it stays selected when the rows move.
            model.select(0);
            model.screen = Screen::History;
            model.scrolled = 0;
        }
        (Screen::Sinks, KeyCode::Char('w')) => {
            model.screen = Screen::Senders;
            model.scrolled = 0;
        }
        (Screen::Sinks, KeyCode::Char(key)) if rows == 0 => {
            let mut sorts = Sort::ALL.into_iter();
            if let Some(sort) = sorts.find(|sort| sort.key() == key) {
                model.sort_by(sort);
            } else if key == 'r' {
                model.reversed = !model.reversed;
            }
        }
        (Screen::Sinks, _) => model.select(rows),
        (Screen::History, KeyCode::Left | KeyCode::Char('h')) => model.turn_to(-1),
        (Screen::History, KeyCode::Right | KeyCode::Char('l')) => model.turn_to(1),
        (Screen::History | Screen::Senders, _) => model.scroll(rows),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cli::fixture::{router, sink};

    fn model() -> Model {
        let mut model = Model::new(String::new(), std::time::Duration::from_secs(1));
        let sinks = ["c", "a", "b"].map(|name| sink(name, "unix:///s"));
        model.watched.seen(router(sinks.to_vec()), Instant::now());
        model
    }

    fn press(model: &mut Model, codes: &[KeyCode]) -> Flow {
        let flows = codes
            .iter()
            .map(|code| on(model, &Event::Key((*code).into())));
        flows.last().expect("a key")
    }

    fn selected(model: &Model) -> &str {
        &model.selected_sink().expect("a row").name
    }

    #[test]
    fn keys_move_the_selection() {
        let mut model = model();
        press(&mut model, &[KeyCode::Down]);
        assert_eq!(selected(&model), "a");
        press(&mut model, &[KeyCode::Char('j'), KeyCode::Char('j')]);
        assert_eq!(selected(&model), "b");
        press(&mut model, &[KeyCode::Home]);
        assert_eq!(selected(&model), "c");
        press(
            &mut model,
            &[KeyCode::Char('G'), KeyCode::PageDown, KeyCode::Char('k')],
        );
        assert_eq!(selected(&model), "a");
    }

    #[test]
    fn keys_sort() {
        let mut model = model();
        press(&mut model, &[KeyCode::Char('n')]);
        assert_eq!((model.sort, model.reversed), (Sort::Name, false));
        assert_eq!(model.selected(), 2, "c goes to the end, selected");
        press(&mut model, &[KeyCode::Char('n')]);
        assert_eq!((model.sort, model.reversed), (Sort::Name, true));
        press(&mut model, &[KeyCode::Char('d'), KeyCode::Char('r')]);
        assert_eq!((model.sort, model.reversed), (Sort::Drops, true));
    }

    #[test]
    fn keys_open_turn_and_leave_a_history() {
        let mut model = model();
        press(&mut model, &[KeyCode::Down, KeyCode::Enter]);
        assert_eq!((model.screen, selected(&model)), (Screen::History, "a"));
        press(&mut model, &[KeyCode::Char('n')]);
        assert_eq!(model.sort, Sort::Configured, "nothing is sorted there");
        press(&mut model, &[KeyCode::Right, KeyCode::Right, KeyCode::Left]);
        assert_eq!(selected(&model), "a");
        press(&mut model, &[KeyCode::Esc]);
        assert_eq!((model.screen, selected(&model)), (Screen::Sinks, "a"));
        assert_eq!(press(&mut model, &[KeyCode::Esc]), Flow::Continue);
    }

    #[test]
    fn w_shows_the_senders_until_they_are_left() {
        let mut model = model();
        press(&mut model, &[KeyCode::Char('w')]);
        assert_eq!(model.screen, Screen::Senders);
        press(&mut model, &[KeyCode::End]);
        assert_eq!(model.scrolled, 2, "the listener and its two senders");
        press(&mut model, &[KeyCode::Home, KeyCode::Down]);
        assert_eq!(model.scrolled, 1);
        press(&mut model, &[KeyCode::Esc]);
        assert_eq!(model.screen, Screen::Sinks);
    }

    #[test]
    fn the_help_ignores_other_keys_until_it_is_closed() {
        let mut model = model();
        press(
            &mut model,
            &[KeyCode::Char('?'), KeyCode::Down, KeyCode::Char('n')],
        );
        assert!(model.help);
        assert_eq!((model.selected(), model.sort), (0, Sort::Configured));
        press(&mut model, &[KeyCode::Esc]);
        assert!(!model.help);
    }

    #[test]
    fn q_and_control_c_quit_from_every_screen() {
        for before in [KeyCode::Home, KeyCode::Enter, KeyCode::Char('?')] {
            let mut model = model();
            press(&mut model, &[before]);
            assert_eq!(press(&mut model, &[KeyCode::Char('q')]), Flow::Leave);
            let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(on(&mut model, &Event::Key(control_c)), Flow::Leave);
            assert_eq!(on(&mut model, &Event::Resize(1, 1)), Flow::Continue);
        }
    }
}
