//! One run of the benchmark, in which a router forwards the frames of senders to collectors.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    cases::{Case, Load},
    child::{Child, Role},
    collectors::{self, Connected, Expect, Listening, Received},
    histogram::Quantiles,
    program::{Addresses, Ledger, Program, Router},
    sender::{self, Pace, Ready, Run, Sent},
    socket::{Address, Transport},
    tls,
    usage::{self, Usage},
};

/// Results of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Frames that were sent in the measured time.
    pub(crate) frames: u64,
    /// The measured time, in nanoseconds.
    pub(crate) took: u64,
    /// Resources that the router used.
    pub(crate) router: Usage,
    pub(crate) delay: Quantiles,
    /// The lateness of the sender: how long after its deadline each write began.
    pub(crate) late: Quantiles,
    /// Frames that did not arrive, summed over the sinks.
    pub(crate) lost: u64,
    /// The largest resident memory of the router, in bytes.
    pub(crate) memory: u64,
    /// Processor time of the senders and collectors, in nanoseconds.
    pub(crate) peers: u64,
    /// The average number of processors that all other programs on the machine kept busy. The
    /// average also covers the time in which the collectors waited for the last frames.
    pub(crate) others: f64,
}

/// The time for which the load already runs before the measured time begins, in seconds.
const WARM_UP: f64 = 0.3;

/// The number of frames in one write of [`Load::Bulk`], about 230 KiB of recorded frames.
const BULK: usize = 1500;

/// The largest size of one write of [`Load::Bulk`], in bytes, in cases that set the size of a
/// frame. A single frame may be larger.
const BULK_BYTES: u32 = 230 << 10;

/// The deadline of each step that does not depend on the load.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time without a frame after which a collector stops waiting. It is long because golang-dnstap
/// writes the last frames five seconds late.
const QUIET: Duration = Duration::from_secs(8);

/// The time without a frame after which a collector of tapfan stops waiting. tapfan writes frames
/// immediately. After this time, the ledgers of tapfan say whether frames are still to come.
const QUIET_TAPFAN: Duration = Duration::from_secs(1);

/// The processes of a run. The router ends first, so that it does not log the end of the other
/// processes.
struct Processes {
    router: Router,
    sender: Child,
    collectors: Child,
}

/// Measures a program under the load of a case for `seconds`.
///
/// # Errors
///
/// If a process fails, if frames came twice or in another order, or if frames are missing and not
/// counted as lost. golang-dnstap counts no losses, so its missing frames are no error.
pub(crate) fn measure(case: &Case, program: &Program, seconds: f64) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let mut processes = Processes::start(case, program, folder.path())?;
    processes.load(case, WARM_UP, false)?;
    let before = processes.usage()?;
    let start = Instant::now();
    let busy = usage::machine()?;
    let mut sent = processes.load(case, seconds, true)?;
    let received = processes.receive(sent.total)?;
    let after = processes.usage()?;
    let busy = usage::machine()? - busy;
    let elapsed = start.elapsed();
    if case.load == Load::Idle {
        sent.took = u64::try_from(elapsed.as_nanos())?;
    }
    let lost = processes.check(&sent, &received)?;
    let used: Vec<Usage> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after.since(before))
        .collect();
    let peers: u64 = used[1..].iter().map(|usage| usage.processor).sum();
    let others = busy.saturating_sub(used[0].processor + peers);
    let others = Duration::from_nanos(others).as_secs_f64() / elapsed.as_secs_f64();
    Ok(Figures {
        frames: sent.frames,
        took: sent.took,
        router: used[0],
        delay: received.delay,
        late: sent.late,
        lost,
        memory: usage::largest_memory(processes.router.id())?,
        peers,
        others,
    })
}

// === impl Processes ===

impl Processes {
    /// Starts all processes, and waits until the first frame of each sender has been written and
    /// the router is connected to each collector.
    fn start(case: &Case, program: &Program, folder: &Path) -> Result<Self> {
        if case.transport == Transport::Tls {
            tls::Files::in_folder(folder).create()?;
        }
        let free = |name: String| case.transport.free(folder, &name);
        let sinks: std::io::Result<Vec<Address>> = (0..case.sinks)
            .map(|sink| free(format!("sink-{sink}")))
            .collect();
        let addresses = Addresses {
            folder: folder.to_owned(),
            listen: free("in".to_owned())?,
            sinks: sinks?,
        };
        // tapfan watches the folder of its Tapfile, and would spend time on each change of this file.
        let progress = folder.join("collectors");
        fs::create_dir(&progress)?;
        let progress = progress.join("progress");
        fs::write(&progress, vec![0; 8 * addresses.sinks.len()])?;
        let plan = collectors::Plan {
            addresses: addresses.sinks.clone(),
            senders: case.senders,
            progress: (case.load == Load::Bulk).then(|| progress.clone()),
        };
        let mut collectors = Child::start(Role::Collectors, &plan)?;
        let Listening = collectors.hear(PATIENCE)?;
        let router = program.start(case, &addresses)?;
        let plan = sender_plan(case, addresses.listen, progress)?;
        let mut sender = Child::start(Role::Sender, &plan)?;
        let Ready = sender.hear(PATIENCE)?;
        let Connected = collectors.hear(PATIENCE)?;
        Ok(Self {
            router,
            sender,
            collectors,
        })
    }

    /// Returns the resources that each process has used. The first process is the router.
    fn usage(&self) -> Result<[Usage; 3]> {
        Ok([
            Usage::of(self.router.id())?,
            Usage::of(self.sender.id())?,
            Usage::of(self.collectors.id())?,
        ])
    }

    /// Lets the senders write the load of a case for `seconds`.
    fn load(&mut self, case: &Case, seconds: f64, timed: bool) -> Result<Sent> {
        let time = Duration::from_secs_f64(seconds);
        if case.load == Load::Idle {
            thread::sleep(time);
            return Ok(Sent {
                total: u64::from(case.senders),
                ..Sent::default()
            });
        }
        self.sender.tell(&Run { seconds, timed })?;
        self.sender.hear(time * 10 + PATIENCE)
    }

    /// Waits until the collectors have all frames, or will get no more frames.
    ///
    /// The processor time of the router is read after this wait. Reading `/status` would add to it,
    /// so `/status` is read only if frames are missing.
    fn receive(&mut self, frames: u64) -> Result<Received> {
        let keeps_ledgers = matches!(self.router, Router::Tapfan(..));
        let expected = Expect {
            frames,
            quiet: if keeps_ledgers { QUIET_TAPFAN } else { QUIET },
        };
        self.collectors.tell(&expected)?;
        let received: Received = self.collectors.hear(PATIENCE * 4)?;
        let is_complete = received.counts.iter().all(|count| count.frames >= frames);
        if is_complete || !keeps_ledgers {
            return Ok(received);
        }
        self.settled_ledgers(frames)?;
        self.collectors.tell(&expected)?;
        self.collectors.hear(PATIENCE * 4)
    }

    /// Waits until the router has delivered or dropped all frames, and returns the ledgers of its
    /// sinks. `None` if the program keeps no ledgers.
    fn settled_ledgers(&self, frames: u64) -> Result<Option<Vec<Ledger>>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(ledgers) = self.router.ledgers()? else {
                return Ok(None);
            };
            let is_open =
                |ledger: &Ledger| ledger.offered < frames || ledger.queued + ledger.in_flight > 0;
            if !ledgers.iter().any(is_open) || Instant::now() > deadline {
                return Ok(Some(ledgers));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks that each frame that was sent has arrived or is counted as dropped. Returns the
    /// number of the frames that did not arrive, summed over the sinks.
    fn check(&self, sent: &Sent, received: &Received) -> Result<u64> {
        let mut lost = 0;
        let ledgers = self.settled_ledgers(sent.total)?;
        for (sink, count) in received.counts.iter().enumerate() {
            if let Some(error) = &count.error {
                return Err(format!("collector {sink}: {error}").into());
            }
            let absent = sent.total.checked_sub(count.frames).ok_or_else(|| {
                let (frames, total) = (count.frames, sent.total);
                format!("collector {sink} has {frames} frames, but only {total} were sent")
            })?;
            if count.missing > absent {
                let missing = count.missing;
                return Err(format!("collector {sink}: {missing} gaps, {absent} absent").into());
            }
            lost += absent;
            let Some(ledgers) = &ledgers else {
                if absent > 0 && !matches!(self.router, Router::Golang(_)) {
                    return Err(format!("collector {sink}: {absent} frames are missing").into());
                }
                continue;
            };
            let ledger = ledgers.get(sink).ok_or("a sink is missing in /status")?;
            // Frames that are written but not yet confirmed count, too, because the router asks the
            // kernel only once a second which frames the collector has acknowledged.
            let written = ledger.delivered + ledger.unconfirmed;
            let is_right =
                (ledger.offered, written, ledger.dropped()) == (sent.total, count.frames, absent);
            if !is_right {
                let (total, frames) = (sent.total, count.frames);
                let text = format!(
                    "sink {sink}: {total} frames were sent and {frames} received, but the router \
                     counts {ledger:?}"
                );
                return Err(text.into());
            }
        }
        Ok(lost)
    }
}

fn sender_plan(case: &Case, address: Address, progress: PathBuf) -> Result<sender::Plan> {
    let (frames, pace) = match case.load {
        Load::Idle => (1, Pace::Rate(1.0)),
        Load::Rate(frames, in_one_write) => {
            let writes = f64::from(frames) / f64::from(in_one_write);
            (usize::try_from(in_one_write)?, Pace::Rate(writes))
        }
        Load::Bulk => {
            let collectors = case.sinks;
            let window = Pace::Window {
                progress,
                collectors,
            };
            let fit = case.size.map_or(BULK, |size| (BULK_BYTES / size) as usize);
            (fit.clamp(1, BULK), window)
        }
    };
    Ok(sender::Plan {
        address,
        senders: case.senders,
        frames,
        size: case.size,
        pace,
    })
}
