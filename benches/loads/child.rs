//! Child processes of this benchmark, which play the senders and the collectors. The parent process
//! and its child processes exchange lines of JSON.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, collectors, naive, sender};

/// The environment variable that tells a child process its role.
const ROLE: &str = "TAPFAN_BENCH_LOADS";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Sender,
    Collectors,
    Naive,
}

/// A child process. It is killed when dropped.
pub(crate) struct Child {
    role: Role,
    process: process::Child,
    lines: mpsc::Receiver<String>,
}

/// The connection of a child process to its parent process.
pub(crate) struct Parent {
    input: io::Lines<io::StdinLock<'static>>,
    output: io::Stdout,
}

// === impl Role ===

impl Role {
    const ALL: [Self; 3] = [Self::Sender, Self::Collectors, Self::Naive];

    const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Collectors => "collectors",
            Self::Naive => "naive",
        }
    }

    /// Returns the role of this process. `None` if this is the parent process, which the user
    /// started.
    pub(crate) fn given() -> Option<Self> {
        let name = env::var(ROLE).ok()?;
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Plays this role until the parent process closes the connection.
    pub(crate) fn play(self) -> Result<()> {
        let mut parent = Parent {
            input: io::stdin().lines(),
            output: io::stdout(),
        };
        match self {
            Self::Sender => sender::play(&mut parent),
            Self::Collectors => collectors::play(&mut parent),
            Self::Naive => naive::play(&mut parent),
        }
    }
}

// === impl Child ===

impl Child {
    /// Starts a process in this role, and passes `plan` to it.
    pub(crate) fn start(role: Role, plan: &impl Serialize) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .env(ROLE, role.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            // This thread ends when the child process ends, or when the receiver of the channel is
            // dropped.
            let read = BufReader::new(output).lines().map_while(io::Result::ok);
            read.take_while(|text| line.send(text.clone()).is_ok())
                .for_each(drop);
        });
        let mut child = Self {
            role,
            process,
            lines,
        };
        child.tell(plan)?;
        Ok(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn tell(&mut self, message: &impl Serialize) -> Result<()> {
        let input = self.process.stdin.as_mut().ok_or("no standard input")?;
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(input.write_all(&line)?)
    }

    /// Waits for a message.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self, most: Duration) -> Result<T> {
        let line = self.lines.recv_timeout(most).map_err(|error| {
            let role = self.role.name();
            format!("no answer of the {role} within {most:?}: {error}")
        })?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Ignores errors: the process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Parent ===

impl Parent {
    /// Waits for a message. `None` if the parent process will send no more messages.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(line) = self.input.next() else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_str(&line?)?))
    }

    /// Waits for the first message, which tells this process what to do.
    pub(crate) fn plan<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.hear()?.ok_or_else(|| "got no plan".into())
    }

    pub(crate) fn tell(&mut self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(self.output.write_all(&line)?)
    }
}
