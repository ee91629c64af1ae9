//! Tests of the disk spool with random sequences of appends, reads, confirmations, crashes and faults. A model knows
//! exactly which frames the spool must have.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tapfan::internals::spool::{Appended, Counters, Spool, Status, Sync, WhenFull};

use crate::{
    disk::{Call, Disk, Fault},
    frames::{self, Frame, drain, entry, frame, now, settings, within},
    inspect::look,
};

#[derive(Debug, Clone)]
enum Op {
    /// Appends frames of these lengths, as one record.
    Append(Vec<u8>),
    Read(u8),
    /// Confirms a part of the frames that were read. The part is given in 255ths.
    Confirm(u8),
    Commit,
    /// Begins a new segment, as after a failed write.
    BeginSegment,
    /// Moves the reader back to one of the frames that were read and not confirmed. The value is the place of this
    /// frame among them, in 255ths.
    Rewind(u8),
    Fault(Fault),
    /// Makes the process die after it has called the file system this many more times. With a seed, the power fails at
    /// that moment, and the seed decides which data is lost.
    DieIn(u8, Option<u64>),
    Kill,
    LosePower(u64),
    /// Kills the process. The next process dies during its start, after it has called the file system this many times.
    /// With a seed, the power fails at that moment, and the seed decides which data is lost.
    DieAtStart(u8, Option<u64>),
    Close,
}

struct Model {
    disk: Disk,
    spool: Option<Spool<Disk>>,
    sync: Sync,
    when_full: WhenFull,
    /// The frames that were appended and that no commit has confirmed yet.
    frames: BTreeMap<u64, Frame>,
    /// Frames for which the append failed. The spool may return them after a crash, or may not.
    maybe: BTreeMap<u64, Vec<Frame>>,
    /// The number of frames that the test has made so far.
    made: u32,
    power: Option<u64>,
    /// The confirmation of every frame with a number below this one has succeeded.
    confirmed: u64,
    /// Every frame with a number below this one was confirmed before the last successful commit.
    committed: u64,
    /// Frames that can be read but that will never be on the disk: their sync failed, and the process died before it
    /// could write them again.
    doomed: BTreeSet<u64>,
    life: Life,
}

/// The facts about the current process, from its start on.
#[derive(Default)]
struct Life {
    /// The number of the first unconfirmed frame when the process started.
    start: u64,
    position: u64,
    /// The number of frames that were lost before the process started.
    missing: u64,
    /// The frames that this process has read or that are confirmed.
    seen: BTreeSet<u64>,
    /// True if the process has read frames twice. In that case, a frame may have been read once and may be lost later.
    has_rewound: bool,
}

fn op() -> impl Strategy<Value = Op> {
    // Failed reads are for other tests.
    let calls: Vec<Call> = Call::ALL
        .into_iter()
        .filter(|call| *call != Call::Read)
        .collect();
    let fault = (prop::sample::select(calls), 0..4_u8, 1..4_u8)
        .prop_map(|(call, skip, times)| Fault { call, skip, times });
    prop_oneof![
        12 => prop::collection::vec(0..60_u8, 1..5).prop_map(Op::Append),
        5 => any::<u8>().prop_map(Op::Read),
        4 => any::<u8>().prop_map(Op::Confirm),
        3 => Just(Op::Commit),
        1 => Just(Op::BeginSegment),
        1 => any::<u8>().prop_map(Op::Rewind),
        1 => fault.prop_map(Op::Fault),
        2 => (0..40_u8, any::<Option<u64>>()).prop_map(|(calls, power)| Op::DieIn(calls, power)),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::LosePower),
        1 => (0..20_u8, any::<Option<u64>>()).prop_map(|(calls, power)| Op::DieAtStart(calls, power)),
        1 => Just(Op::Close),
    ]
}

fn sync() -> impl Strategy<Value = Sync> {
    prop_oneof![3 => Just(within()), 1 => Just(Sync::Always), 1 => Just(Sync::Never)]
}

fn when_full() -> impl Strategy<Value = WhenFull> {
    prop_oneof![Just(WhenFull::Newest), Just(WhenFull::Oldest)]
}

// === impl Model ===

impl Model {
    fn new(sync: Sync, when_full: WhenFull) -> Self {
        let mut model = Self {
            disk: Disk::default(),
            spool: None,
            sync,
            when_full,
            frames: BTreeMap::new(),
            maybe: BTreeMap::new(),
            made: 0,
            power: None,
            confirmed: 0,
            committed: 0,
            doomed: BTreeSet::new(),
            life: Life::default(),
        };
        model.open();
        model
    }

    fn open(&mut self) {
        let settings = settings(self.sync, self.when_full);
        let (spool, recovered) = Spool::open(self.disk.clone(), settings).expect("opens");
        let status = spool.status();
        assert_eq!(recovered.frames, status.confirmed..status.next);
        self.life = Life {
            start: status.confirmed,
            position: status.confirmed,
            ..Life::default()
        };
        self.spool = Some(spool);
    }

    fn spool(&mut self) -> &mut Spool<Disk> {
        self.spool.as_mut().expect("open")
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append(lengths) => self.append(lengths),
            Op::Read(limit) => self.read(usize::from(*limit)),
            Op::Confirm(part) => {
                let (from, to) = (self.spool().status().confirmed, self.life.position);
                self.confirm(from + (to.saturating_sub(from) * u64::from(*part)).div_ceil(255));
            }
            Op::Commit => drop(self.commit()),
            Op::BeginSegment => drop(self.spool().begin_segment(now())),
            Op::Rewind(part) => {
                let (from, to) = (self.spool().status().confirmed, self.life.position);
                let to = from + to.saturating_sub(from) * u64::from(*part) / 255;
                self.spool().seek(to);
                self.life.position = self.spool().status().position;
                self.life.has_rewound = true;
            }
            Op::Fault(fault) => self.disk.fail(*fault),
            Op::DieIn(calls, power) => {
                self.disk.die_in(u32::from(*calls));
                self.power = *power;
            }
            Op::Kill => self.crash(None),
            Op::LosePower(seed) => self.crash(Some(*seed)),
            Op::DieAtStart(calls, power) => self.die_at_start(u32::from(*calls), *power),
            Op::Close => {
                if self.commit() {
                    let next = self.spool().status().next;
                    assert!(self.sync == Sync::Never || self.spool().status().synced == next);
                    self.crash(None);
                }
            }
        }
        if self.disk.is_dead() {
            let power = self.power.take();
            self.crash(power);
        }
    }

    fn append(&mut self, lengths: &[u8]) {
        let frames: Vec<Frame> = (self.made..)
            .zip(lengths)
            .map(|(number, length)| frame(number, usize::from(*length)))
            .collect();
        self.made += u32::try_from(frames.len()).expect("few");
        let context = [u8::from(self.made.is_multiple_of(2))];
        let before = self.spool().status();
        let appended = self.spool().append(&entry(&frames, &context), now());
        let after = self.spool().status();
        self.gave_up(&before.counters, before.confirmed);
        match appended {
            Ok(Appended::At(first)) => {
                assert_eq!(first, before.next);
                assert!(self.sync != Sync::Always || after.synced == after.next);
                self.frames.extend((first..).zip(frames));
            }
            Ok(Appended::Full) => {
                assert_eq!(after.next, before.next);
                let least = settings(self.sync, self.when_full).segment;
                assert!(
                    after.bytes + 2 * least > 1500,
                    "{} bytes are not full",
                    after.bytes
                );
            }
            Err(_) => {
                assert_eq!(after.next, before.next);
                for (number, frame) in (before.next..).zip(frames) {
                    self.maybe.entry(number).or_default().push(frame);
                }
            }
        }
        // The size limit is 1500 bytes, but there are two exceptions. A power loss may bring deleted segments back, and
        // each failed sync needs the space for one more header.
        let most = before.bytes.max(1500) + 64 * after.counters.failed_syncs;
        assert!(after.bytes <= most, "{} bytes", after.bytes);
    }

    /// Takes note of the frames that the spool has given up because it was full.
    fn gave_up(&mut self, before: &Counters, confirmed: u64) {
        let after = self.spool().status();
        let position = self.life.position;
        let unread = after.confirmed.saturating_sub(position.max(confirmed));
        let oldest = after.counters.oldest - before.oldest;
        assert!(oldest <= unread, "{oldest} of {unread} frames");
        assert_eq!(after.counters.expired, 0);
        self.life.position = position.max(after.confirmed);
    }

    fn read(&mut self, limit: usize) {
        let batch = self.spool().read(limit, now());
        if self.disk.is_dead() {
            return;
        }
        let batch = batch.expect("no read fails");
        let expected = self.frames.range(self.life.position..).next();
        let Some(batch) = batch else {
            assert_eq!(expected, None, "a frame is missing");
            self.life.position = self.spool().status().position;
            return;
        };
        assert_eq!(Some(batch.first), expected.map(|(number, _)| *number));
        for (number, frame) in (batch.first..).zip(frames::frames(&batch)) {
            assert_eq!(self.frames.get(&number), Some(&frame), "frame {number}");
            self.life.seen.insert(number);
        }
        self.life.position = batch.first + batch.frames;
        assert_eq!(self.spool().status().position, self.life.position);
    }

    fn confirm(&mut self, below: u64) {
        let confirmed = self.spool().confirm(below, now());
        let status = self.spool().status();
        assert!(status.confirmed >= below);
        if confirmed.is_ok() {
            self.confirmed = self.confirmed.max(status.confirmed);
        }
        self.life.position = self.life.position.max(status.position);
    }

    fn commit(&mut self) -> bool {
        let is_ok = self.spool().commit(now()).is_ok();
        let status = self.spool().status();
        if is_ok {
            assert!(status.synced == status.next);
            self.confirmed = status.confirmed;
            self.committed = status.confirmed;
            self.frames.retain(|number, _| *number >= status.confirmed);
            // If no frame is unconfirmed, only the segment to which the spool is writing may be left.
            assert!(
                status.confirmed < status.next || status.segments <= 1,
                "{status:?}"
            );
        }
        is_ok
    }

    /// Ends the process, starts the next one, and checks the frames that are left.
    fn crash(&mut self, power: Option<u64>) {
        let before = self.spool().status();
        self.spool = None;
        self.start(power, &before);
    }

    fn die_at_start(&mut self, calls: u32, power: Option<u64>) {
        let before = self.spool().status();
        self.spool = None;
        let has_forgotten = self.disk.has_forgotten();
        self.disk.restart();
        self.disk.die_in(calls);
        let settings = settings(self.sync, self.when_full);
        if let Ok((spool, _)) = Spool::open(self.disk.clone(), settings) {
            let next = spool.status().next;
            self.doomed
                .extend((before.synced..next).filter(|_| has_forgotten));
        }
        self.start(power, &before);
    }

    /// Starts a process after a crash. `before` is the last status of the previous process.
    fn start(&mut self, power: Option<u64>, before: &Status) {
        let has_power = power.is_none();
        let has_forgotten = self.disk.has_forgotten();
        match power {
            None => self.disk.restart(),
            Some(seed) => self.disk.lose_power(seed),
        }
        let look = look(&self.disk);
        self.open();
        let status = self.spool().status();
        if has_forgotten {
            self.doomed.extend(before.synced..status.next);
        }
        let (confirmed, keeps) = match (has_power, self.sync) {
            (true, _) => (self.confirmed..=before.confirmed, before.next),
            // The power loss may also have lost the checkpoint. In that case the spool begins with the first segment
            // that is left.
            (false, Sync::Never) => (0..=u64::MAX, 0),
            (false, _) => (self.committed..=before.confirmed, before.synced),
        };
        assert!(
            confirmed.contains(&status.confirmed),
            "{confirmed:?} was confirmed, and now {} is",
            status.confirmed
        );
        assert!(
            status.next >= keeps,
            "{keeps} frames, and now {}",
            status.next
        );
        let left = drain(self.spool(), 100);
        match &look {
            Some(look) => {
                assert_eq!(look.overview.frames, status.confirmed..status.next);
                assert_eq!(look.frames, left);
                assert_eq!(look.lost(), self.spool().status().counters.corrupt);
            }
            None => assert_eq!((status.confirmed, status.next), (0, 0)),
        }
        let mut last = None;
        for (number, frame) in &left {
            assert!(last < Some(*number) && *number >= status.confirmed, "order");
            last = Some(*number);
            let known = self.frames.get(number) == Some(frame);
            let is_maybe = self
                .maybe
                .get(number)
                .is_some_and(|maybe| maybe.contains(frame));
            // At a commit, the model forgets the confirmed frames. With `sync never`, a power loss may bring such
            // frames back.
            let is_back = self.sync == Sync::Never && *number < before.confirmed;
            assert!(known || is_maybe || is_back, "frame {number} is invented");
        }
        let left: BTreeMap<u64, Frame> = left.into_iter().collect();
        for number in status.confirmed..keeps {
            let is_doomed = !has_power && self.doomed.contains(&number);
            if let Some(frame) = self.frames.get(&number).filter(|_| !is_doomed) {
                assert_eq!(left.get(&number), Some(frame), "frame {number} is lost");
            }
        }
        let missing = status.next - status.confirmed - left.len() as u64;
        assert_eq!(self.spool().status().counters.corrupt, missing);
        // A second start must find the same frames as the first.
        self.spool = None;
        self.disk.restart();
        self.open();
        let again = self.spool().status();
        assert!(again.confirmed >= status.confirmed);
        assert_eq!(again.next, status.next);
        self.life.missing = missing;
        self.frames = left;
        self.maybe.clear();
        self.confirmed = again.confirmed;
        if self.sync != Sync::Never {
            self.committed = again.confirmed;
        }
    }

    /// Reads to the end, and asserts that each frame of this process was read, or was counted as lost exactly once.
    fn end(&mut self) {
        self.disk.restart();
        loop {
            let before = self.life.position;
            self.read(1000);
            if self.life.position == before {
                break;
            }
        }
        let status = self.spool().status();
        let counters = status.counters;
        let lost = counters.corrupt + counters.oldest;
        let all = status.next - self.life.start;
        assert!(counters.corrupt <= self.life.missing, "{status:?}");
        if !self.life.has_rewound {
            assert_eq!(self.life.seen.len() as u64 + lost, all, "{status:?}");
        }
        self.confirm(status.next);
        assert!(self.commit());
        let status = self.spool().status();
        assert_eq!(
            (status.confirmed, status.position),
            (status.next, status.next)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_read_or_confirmed_or_counted(
        sync in sync(),
        when_full in when_full(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut model = Model::new(sync, when_full);
        for op in &ops {
            model.run(op);
        }
        model.end();
    }
}
