//! Where a file's data are: on this machine, or with a server or a program that may let one wait.
//!
//! To ask the file system itself (`fstatfs`) may ask its server. What the kernel knows of its mounts it tells without: under
//! which number a descriptor's file system is mounted (`/proc/self/fdinfo`), and of which kind the mount with that number is
//! (`/proc/self/mountinfo`).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Kinds of file systems that keep their data on this machine. What is not on the list may ask a server or a program.
const LOCAL: [&str; 24] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "jfs", "nilfs2", "tmpfs",
    "devtmpfs", "ramfs", "rootfs", "squashfs", "erofs", "iso9660", "udf", "msdos", "vfat", "exfat",
    "ntfs3", "hfsplus",
    // As local as what lies below, and hardly anyone puts a server there.
    "overlay",
];

/// Whether looking at a file whose inode is in memory waits for nobody. `false` too where that can't be told: without `/proc`, or
/// in a `chroot`, whose file systems the table of mounts leaves out.
///
/// # Errors
/// It can't be told now: no descriptor or no memory is left.
///
/// # Cost
/// Two small files that the kernel makes up: some 20 µs, more with hundreds of mounts.
pub(crate) fn is_on_this_machine(file: BorrowedFd<'_>) -> io::Result<bool> {
    let about = told(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let mounts = told("/proc/self/mountinfo")?;
    let kind = mount_of(&about).and_then(|mount| kind_of(mount, &mounts));
    Ok(kind.is_some_and(|kind| LOCAL.contains(&kind)))
}

/// What the kernel tells in a file; nothing, if there is no such file. Folders where something is mounted may have any name.
fn told(path: &str) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(String::new()),
    }
}

/// Whether the same may work later.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

/// The mount's number, from what the kernel says about a descriptor.
fn mount_of(descriptor: &str) -> Option<&str> {
    let mut lines = descriptor.lines();
    let number = lines.find_map(|line| line.strip_prefix("mnt_id:"))?;
    Some(number.trim())
}

/// The kind of the file system: a line of the list begins with the mount's number, and has the kind behind a lone dash.
fn kind_of<'a>(mount: &str, mounts: &'a str) -> Option<&'a str> {
    let mut lines = mounts.lines();
    let line = lines.find(|line| line.split(' ').next() == Some(mount))?;
    line.split_once(" - ")?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use std::os::fd::AsFd;

    const MOUNTS: &str = "\
        22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        2 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
        122 22 0:44 / /a\\040-\\040b rw - fuse.sshfs host:/ rw,user_id=0\n";

    #[test]
    fn a_mount_is_found_by_its_number_alone() {
        assert_eq!(kind_of("22", MOUNTS), Some("ext4"));
        assert_eq!(kind_of("2", MOUNTS), Some("proc"));
        assert_eq!(kind_of("122", MOUNTS), Some("fuse.sshfs"));
        assert_eq!(kind_of("12", MOUNTS), None);
        assert_eq!(
            mount_of("pos:\t0\nflags:\t02\nmnt_id:\t22\nino:\t3\n"),
            Some("22")
        );
        assert_eq!(mount_of("pos:\t0\n"), None);
    }

    /// The kernel writes names as they are, but for blanks and the like.
    #[test]
    fn a_mount_may_have_any_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mounts =
            b"21 1 0:20 / /\xE9t\xE9 rw - tmpfs peu rw\n22 1 254:0 / / rw - ext4 /dev/vda rw\n";
        fs::write(&file, mounts).unwrap();
        let mounts = told(file.path().to_str().unwrap()).unwrap();
        assert_eq!(kind_of("22", &mounts), Some("ext4"));
    }

    /// Devices are in memory everywhere, processes are made up by the kernel, which is not on the list.
    #[cfg(target_os = "linux")]
    #[test]
    #[cfg_attr(miri, ignore = "Miri's descriptors are not the kernel's")]
    fn each_descriptor_has_the_kind_of_its_mount() {
        let local = |path| is_on_this_machine(fs::File::open(path).unwrap().as_fd()).unwrap();
        assert!(local("/dev/null"));
        assert!(!local("/proc/self/maps"));
    }
}
