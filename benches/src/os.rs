//! What the kernel knows and std doesn't tell: the CPU time of another process, its context switches, and a timer that is a
//! descriptor.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::{Duration, Instant};

/// The CPU time that all threads of process `pid` have used, those that ended included, to the nanosecond.
///
/// The clock of a process counts up to this moment, also for a thread that is running now; `/proc/<pid>/stat` counts in
/// hundredths of a second.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is valid for the write.
    let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the write.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// How often the threads of process `pid` that are alive went to sleep of their own accord. Each is a wake-up later.
pub fn sleeps(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        // A thread that ended since the listing counts nothing any more.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        let switches = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += switches
            .and_then(|number| number.trim().parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

/// Lets as many connections wait to be accepted as the kernel allows, instead of std's 128: each that finds no room tries again after a second.
pub fn lengthen_backlog(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::listen(listener.as_raw_fd(), libc::c_int::MAX) }).map(drop)
}

/// How many bytes of process `pid`'s memory are resident; the kernel's own for it, such as threads' stacks there, are not in it.
pub fn memory(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let number = kibibytes.and_then(|number| number.parse::<u64>().ok());
    let missing = || io::Error::other(format!("process {pid} has no resident memory"));
    number.map(|number| number * 1024).ok_or_else(missing)
}

/// A descriptor that becomes readable at a steady rate. The kernel keeps the beat, so a late reader doesn't shift it.
#[derive(Debug)]
pub struct Metronome {
    timer: File,
    start: Instant,
    interval: Duration,
    beats: u32,
}

impl Metronome {
    /// Starts a beat of one per `interval`, the first one after one interval.
    pub fn start(interval: Duration) -> io::Result<Metronome> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no pointers are passed.
        let timer = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the descriptor is new, and nobody else has it.
        let timer = unsafe { File::from_raw_fd(timer) };
        let every = libc::timespec {
            tv_sec: interval.as_secs() as _,
            tv_nsec: interval.subsec_nanos().into(),
        };
        let setting = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        let start = Instant::now();
        // SAFETY: `setting` is valid for the read, and the old setting is not asked for.
        check(unsafe {
            libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, std::ptr::null_mut())
        })?;
        Ok(Metronome {
            timer,
            start,
            interval,
            beats: 0,
        })
    }

    /// The moments of the beats since the last call, none if the next one is still to come.
    pub fn beats(&mut self) -> io::Result<impl Iterator<Item = Instant> + use<>> {
        let mut bytes = [0; 8];
        let beats = match self.timer.read(&mut bytes) {
            Ok(_) => u64::from_ne_bytes(bytes) as u32,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let (start, interval, first) = (self.start, self.interval, self.beats + 1);
        self.beats += beats;
        Ok((first..first + beats).map(move |beat| start + interval * beat))
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_process_grows_with_its_work() {
        let begin = cpu_time(std::process::id()).unwrap();
        let mut state = 1_u64;
        while cpu_time(std::process::id()).unwrap() < begin + Duration::from_millis(5) {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005));
        }
        // Linux numbers processes below 1 << 22.
        assert!(cpu_time(1 << 24).is_err());
    }

    #[test]
    fn memory_that_is_written_becomes_resident() {
        let begin = memory(std::process::id()).unwrap();
        let written = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(memory(std::process::id()).unwrap() > begin + (32 << 20));
        drop(written);
    }

    #[test]
    fn a_thread_that_sleeps_is_counted() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let (answer, answers) = std::sync::mpsc::channel::<()>();
        let sleeper =
            std::thread::spawn(move || receive.iter().for_each(|()| answer.send(()).unwrap()));
        let begin = sleeps(std::process::id()).unwrap();
        // Until a thread has gone to sleep between two messages at least once.
        while sleeps(std::process::id()).unwrap() == begin {
            send.send(()).unwrap();
            answers.recv().unwrap();
        }
        drop(send);
        sleeper.join().unwrap();
    }

    #[test]
    fn beats_are_evenly_spaced_and_none_is_lost() {
        let interval = Duration::from_millis(1);
        let mut metronome = Metronome::start(interval).unwrap();
        let mut beats: Vec<Instant> = Vec::new();
        while beats.len() < 20 {
            beats.extend(metronome.beats().unwrap());
        }
        assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == interval));
        assert!(*beats.last().unwrap() <= Instant::now());
    }
}
