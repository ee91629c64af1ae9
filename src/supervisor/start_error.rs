//! The reasons why the router did not start or was not changed.

use std::sync::Arc;

use crate::{listener::ListenerSetupError, sink::SinkSetupError};

/// All reasons why the router did not start or was not changed.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct StartError(pub Vec<StartProblem>);

/// One reason why the router did not start or was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartProblem {
    /// A listener could not be set up.
    #[error("{directive} {name}: {source}", directive = directive(.source))]
    Listener {
        /// Its name.
        name: Arc<str>,
        /// The cause.
        source: ListenerSetupError,
    },
    /// A sink could not be set up.
    #[error("dnstap {name}: {source}")]
    Sink {
        /// Its name.
        name: Arc<str>,
        /// The cause.
        source: SinkSetupError,
    },
}

/// Returns the name of the directive that has this problem.
fn directive(problem: &ListenerSetupError) -> &'static str {
    match problem {
        ListenerSetupError::Connect(_) => "connect",
        _ => "listen",
    }
}

fn lines(problems: &[StartProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
