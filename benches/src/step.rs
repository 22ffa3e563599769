//! Counting what a thread does, exactly: it is stopped before each of its instructions (`ptrace(2)`), and each is looked at.
//!
//! A sampling profiler sees where time goes; this sees how much there is to do, and sees it the same every time:
//! instructions in user space, those of them that lock a cache line or fence, and system calls. It costs some microseconds
//! per instruction, so some hundreds of requests or tasks are counted, and no more are needed.
//!
//! Linux on x86-64 only, where a locked instruction can be told by its bytes.

use std::collections::BTreeMap;
use std::io;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions in user space.
    pub instructions: u64,
    /// Instructions with a lock prefix, exchanges with memory, and full fences.
    pub locked: u64,
    /// System calls, by number.
    pub calls: BTreeMap<u64, u64>,
}

impl Counts {
    fn add(&mut self, instruction: &Instruction) {
        self.instructions += 1;
        self.locked += u64::from(instruction.is_locked());
        if let Some(call) = instruction.call() {
            *self.calls.entry(call).or_default() += 1;
        }
    }
}

/// The instruction that a thread is about to execute.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Its first bytes, in the order of their addresses.
    bytes: [u8; 8],
    /// The register that holds the number of a system call.
    rax: u64,
}

impl Instruction {
    /// The number of the system call that this is, if it is one.
    pub fn call(&self) -> Option<u64> {
        self.bytes.starts_with(&[0x0f, 0x05]).then_some(self.rax)
    }

    /// Whether it is a [`mark`].
    pub fn is_mark(&self) -> bool {
        self.call() == Some(MARK)
    }

    /// Whether it locks a line or fences: a lock prefix, an exchange with memory (which locks without one), or `mfence`.
    /// The encoding is told in the manual of the architecture (Intel SDM, volume 2).
    fn is_locked(&self) -> bool {
        const LOCK: u8 = 0xf0;
        const PREFIXES: [u8; 11] = [
            0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3, LOCK,
        ];
        let is_prefix = |byte: &u8| PREFIXES.contains(byte);
        let prefixes = self.bytes.iter().take_while(|byte| is_prefix(byte)).count();
        let has_rex = matches!(self.bytes.get(prefixes), Some(0x40..=0x4f));
        let operation = &self.bytes[(prefixes + usize::from(has_rex)).min(7)..];
        let exchanges = matches!(operation, [0x86 | 0x87, modrm, ..] if modrm >> 6 != 0b11);
        let fences = matches!(operation, [0x0f, 0xae, 0xf0, ..]);
        self.bytes[..prefixes].contains(&LOCK) || exchanges || fences
    }
}

/// There is no system call with this number, so it does nothing but fail.
const MARK: u64 = 1_000_000;

/// The traced thread's side: an instruction that is easy to find.
pub fn mark() {
    // SAFETY: there is no such system call; it fails and touches nothing.
    unsafe { libc::syscall(MARK as libc::c_long) };
}

/// The number by which this thread can be traced.
pub fn this_thread() -> i32 {
    // SAFETY: takes nothing and returns a number.
    unsafe { libc::gettid() }
}

/// Counts what `thread` does from the instruction for which `begins` says so, up to the one for which `ends` does. Both
/// are asked about each instruction in turn. `release` is called once the thread is held; it is then to run into what is to be
/// counted.
///
/// # Errors
///
/// When the system doesn't let this process trace, or the thread ends before.
pub fn count(
    thread: i32,
    release: impl FnOnce() -> io::Result<()>,
    mut begins: impl FnMut(&Instruction) -> bool,
    mut ends: impl FnMut(&Instruction) -> bool,
) -> io::Result<Counts> {
    let held = trace::Held::new(thread)?;
    release()?;
    let mut counts = Counts::default();
    let mut counting = false;
    loop {
        let instruction = held.next()?;
        if counting && ends(&instruction) {
            return Ok(counts);
        }
        counting |= begins(&instruction);
        if counting {
            counts.add(&instruction);
        }
        held.step()?;
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trace {
    use super::Instruction;
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr::{null_mut, without_provenance_mut};

    /// A thread that this one traces, stopped. Dropping it lets it go.
    pub(super) struct Held(libc::pid_t);

    impl Held {
        pub(super) fn new(thread: i32) -> io::Result<Held> {
            request(libc::PTRACE_SEIZE, thread, null_mut())?;
            let held = Held(thread);
            request(libc::PTRACE_INTERRUPT, thread, null_mut())?;
            held.wait()?;
            Ok(held)
        }

        /// The instruction that comes next.
        pub(super) fn next(&self) -> io::Result<Instruction> {
            let mut registers = MaybeUninit::<libc::user_regs_struct>::uninit();
            request(libc::PTRACE_GETREGS, self.0, registers.as_mut_ptr().cast())?;
            // SAFETY: the request has succeeded, so it has filled all of it.
            let registers = unsafe { registers.assume_init() };
            Ok(Instruction {
                bytes: self.word(registers.rip)?,
                rax: registers.rax,
            })
        }

        /// Lets it execute that instruction.
        pub(super) fn step(&self) -> io::Result<()> {
            request(libc::PTRACE_SINGLESTEP, self.0, null_mut())?;
            self.wait()
        }

        fn word(&self, address: u64) -> io::Result<[u8; 8]> {
            // The C library returns the word itself, so an error can only be told by errno.
            // SAFETY: errno is a place of this thread's.
            unsafe { *libc::__errno_location() = 0 };
            let address = without_provenance_mut::<libc::c_void>(address as usize);
            let nothing = null_mut::<libc::c_void>();
            // SAFETY: reads from the other process, at whatever address: a wrong one is an error.
            let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.0, address, nothing) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(0) => Ok(word.to_ne_bytes()),
                _ => Err(error),
            }
        }

        fn wait(&self) -> io::Result<()> {
            let mut status = 0;
            // SAFETY: `status` is valid for the write.
            let waited = unsafe { libc::waitpid(self.0, &mut status, libc::__WALL) };
            if waited == -1 {
                return Err(io::Error::last_os_error());
            }
            if !libc::WIFSTOPPED(status) {
                return Err(io::Error::other("the traced thread has ended"));
            }
            Ok(())
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            // It may have ended.
            let _ = request(libc::PTRACE_DETACH, self.0, null_mut());
        }
    }

    fn request(
        request: libc::c_uint,
        thread: libc::pid_t,
        data: *mut libc::c_void,
    ) -> io::Result<()> {
        // SAFETY: the only request with data is the one for registers, and its callers pass a place for them.
        let result = unsafe { libc::ptrace(request, thread, null_mut::<libc::c_void>(), data) };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod trace {
    use super::Instruction;
    use std::io;

    pub(super) struct Held;

    impl Held {
        pub(super) fn new(_: i32) -> io::Result<Held> {
            Err(io::Error::other("stepping needs Linux on x86-64"))
        }

        pub(super) fn next(&self) -> io::Result<Instruction> {
            unreachable!("no thread is held")
        }

        pub(super) fn step(&self) -> io::Result<()> {
            unreachable!("no thread is held")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(start: &[u8]) -> Instruction {
        let mut bytes = [0x90; 8];
        bytes[..start.len()].copy_from_slice(start);
        Instruction { bytes, rax: 232 }
    }

    #[test]
    fn what_locks_is_told_by_its_bytes() {
        let locks = |start: &[u8]| instruction(start).is_locked();
        assert!(
            locks(&[0xf0, 0x48, 0x0f, 0xb1, 0x0f]),
            "lock cmpxchg [rdi], rcx"
        );
        assert!(locks(&[0x48, 0x87, 0x07]), "xchg [rdi], rax");
        assert!(locks(&[0x86, 0x07]), "xchg [rdi], al");
        assert!(locks(&[0x0f, 0xae, 0xf0]), "mfence");
        assert!(!locks(&[0x48, 0x87, 0xc1]), "xchg rcx, rax: no memory");
        assert!(!locks(&[0x48, 0x89, 0x07]), "mov [rdi], rax");
        assert!(!locks(&[0x0f, 0xae, 0xe8]), "lfence");
        assert!(!locks(&[0x66; 8]), "nothing but prefixes");
    }

    #[test]
    fn a_system_call_has_its_number() {
        assert_eq!(instruction(&[0x0f, 0x05]).call(), Some(232));
        assert_eq!(instruction(&[0x0f, 0x0b]).call(), None);
    }
}
