//! The thread that writes one file. Because of this thread, the async runtime never waits for the file system.

use std::{
    fmt,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::SystemTime,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Files, error::FileError, keep, part::PartFile, schedule::Slot};
use crate::{
    frame_stream::Batch,
    health::{Event, Reporter},
    net::FilePattern,
};

/// The receiver of the thread's answer to a job.
pub(super) type Answer = oneshot::Receiver<Result<(), FileError>>;

/// Work for the thread of a file.
pub(super) enum Job {
    Write(Batch, oneshot::Sender<Result<(), FileError>>),
    /// Completes the file.
    Finish(oneshot::Sender<Result<(), FileError>>),
}

/// The channel to the thread of a file. When the channel is dropped, the thread completes the file and ends.
pub(super) struct Writer(pub(super) SyncSender<Job>);

/// A file that was opened.
pub(super) struct OpenFile {
    pub(super) writer: Writer,
    /// The path of the file, with its temporary name.
    pub(super) path: PathBuf,
    pub(super) slot: Slot,
    /// A token that is cancelled when the file has reached the configured `size`.
    pub(super) filled: CancellationToken,
}

// === impl Writer ===

impl Writer {
    /// Starts a thread that opens the next file. When the file is open, the thread sends it to the returned receiver.
    pub(super) fn start(
        files: Files,
        permit: OwnedSemaphorePermit,
        status: Reporter,
    ) -> Result<oneshot::Receiver<Result<OpenFile, FileError>>, FileError> {
        let (opened, open) = oneshot::channel();
        let work = move || {
            let _permit = permit;
            let settings = &files.settings;
            let slot = Slot::at(SystemTime::now(), settings.rotate);
            let part = match PartFile::create(&files.pattern, settings.compress, slot.named) {
                Ok(part) => part,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            // The channel has room for one job. That is enough, because the sink sends a job only after it has received
            // the answer to the previous one. If the answer takes too long, the sink abandons the thread that does the
            // jobs.
            let (jobs, work) = sync_channel(1);
            let filled = CancellationToken::new();
            let file = OpenFile {
                writer: Self(jobs),
                path: part.path().to_owned(),
                slot,
                filled: filled.clone(),
            };
            // If the sink no longer waits for the file, it has also dropped its end of the channel for jobs. In that
            // case, `run` deletes the file, because it contains no frames.
            let _ = opened.send(Ok(file));
            run(part, &work, &files, &filled, &status);
        };
        let thread = thread::Builder::new().name("tapfan-file".into());
        thread.spawn(work).map_err(FileError::Thread)?;
        Ok(open)
    }

    /// Writes a batch completely or not at all. If the returned receiver is dropped before the thread has answered, the
    /// thread removes the batch from the file.
    pub(super) fn write(&self, batch: Batch) -> Answer {
        let (answer, answered) = oneshot::channel();
        // If the job cannot be sent, it is dropped together with `answer`. The receiver then gets an error.
        let _ = self.0.try_send(Job::Write(batch, answer));
        answered
    }

    /// Completes the file.
    pub(super) fn finish(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.try_send(Job::Finish(answer));
        answered
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// Runs the jobs until the file is complete or a write has failed.
pub(super) fn run(
    mut part: PartFile,
    jobs: &Receiver<Job>,
    files: &Files,
    filled: &CancellationToken,
    status: &Reporter,
) {
    let mut finished = None;
    for job in jobs {
        match job {
            Job::Write(batch, answer) => {
                let written = part.write(batch);
                let failed = written.is_err();
                // If the sink no longer waits for the answer, it has counted these frames as not delivered. It will
                // write them to another file, so this file must not keep them.
                if answer.send(written).is_err() || failed {
                    if let Err(cause) = part.take_back() {
                        report_left(&part, &cause, status);
                        files.postpone(part, &cause);
                        return;
                    }
                    break;
                }
                part.confirm();
                if files
                    .settings
                    .size
                    .is_some_and(|size| part.length() >= size)
                {
                    filled.cancel();
                }
            }
            Job::Finish(answer) => {
                finished = Some(answer);
                break;
            }
        }
    }
    let completed = complete(part, files, status);
    if let Some(answer) = finished {
        let _ = answer.send(completed);
    }
}

fn report_left(part: &PartFile, cause: &FileError, status: &Reporter) {
    let file = &part.path().display().to_string();
    status.report(&Event::FileLeft { file, cause });
}

pub(super) fn complete(part: PartFile, files: &Files, status: &Reporter) -> Result<(), FileError> {
    let (path, frames) = (part.path().display().to_string(), part.frames());
    match part.complete(&files.pattern) {
        Ok(None) => return Ok(()),
        Ok(Some(target)) => status.report(&Event::FileCompleted {
            file: &target.display().to_string(),
            frames,
            was_left: false,
        }),
        Err(error) => {
            let (file, cause) = (&path, &error);
            status.report(&Event::FileLeft { file, cause });
            return Err(error);
        }
    }
    delete_oldest(files, status);
    Ok(())
}

/// Deletes the oldest files, so that only as many are left as `keep` allows.
pub(super) fn delete_oldest(files: &Files, status: &Reporter) {
    let Some(keep) = files.settings.keep else {
        return;
    };
    let patterns: Vec<&FilePattern> = files.patterns().collect();
    for cause in keep::delete_oldest(&patterns, keep) {
        status.report(&Event::FileNotDeleted { cause: &cause });
    }
}
