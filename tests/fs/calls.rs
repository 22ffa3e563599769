//! Each function: what it does, and what its error says.

use crate::{assert_error, names, on_each_tier};
use futures_lite::StreamExt;
use peu::fs;
use std::collections::BTreeSet;
use std::io::ErrorKind::{
    AlreadyExists, DirectoryNotEmpty, InvalidData, InvalidInput, NotFound, OutOfMemory,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

#[test]
fn whole_files() {
    on_each_tier(async |folder| {
        let (path, missing) = (folder.join("a"), folder.join("no/a"));
        fs::write(&path, "first").await.unwrap();
        fs::write(&path, b"text").await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"text");
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "text");
        let copied = folder.join("b");
        assert_eq!(fs::copy(&path, &copied).await.unwrap(), 4);
        assert_eq!(std::fs::read(&copied).unwrap(), b"text");
        std::fs::write(&copied, [0xff]).unwrap();

        assert_error(fs::read(&missing).await, NotFound, "cannot read", &missing);
        assert_error(
            fs::read_to_string(&copied).await,
            InvalidData,
            "cannot read",
            &copied,
        );
        assert_error(
            fs::write(&missing, "").await,
            NotFound,
            "cannot write",
            &missing,
        );
        let tried = format!("cannot copy to {} the file", copied.display());
        assert_error(
            fs::copy(&missing, &copied).await,
            NotFound,
            &tried,
            &missing,
        );
    });
}

/// A file may say that it is longer than any memory: that is an error, and nothing ends.
#[test]
fn a_file_that_is_too_long_is_an_error() {
    let promises = std::fs::read_to_string("/proc/sys/vm/overcommit_memory");
    if promises.is_ok_and(|kind| kind.trim() == "1") {
        eprintln!(
            "this system promises any memory: the test of a file that is too long is left out"
        );
        return;
    }
    on_each_tier(async |folder| {
        let path = folder.join("a");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(1 << 43)
            .unwrap();
        let error = fs::read(&path).await;
        assert_error(error, OutOfMemory, "cannot read", &path);
        let file = fs::File::open(&path).await.unwrap();
        let (count, buffer) = file.read_at(vec![1; 10], (1 << 43) - 5).await.unwrap();
        assert_eq!((count, &buffer[..6]), (5, [0, 0, 0, 0, 0, 1].as_slice()));
    });
}

#[test]
fn a_file_is_replaced_at_once_or_not_at_all() {
    on_each_tier(async |folder| {
        let path = folder.join("state");
        fs::write_atomic(&path, "new").await.unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        fs::write_atomic(&path, "newer").await.unwrap();
        assert_eq!(
            std::io::read_to_string(reader).unwrap(),
            "new",
            "another file"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);

        let missing = folder.join("no/state");
        let error = fs::write_atomic(&missing, "").await;
        assert_error(error, NotFound, "cannot write", &missing);
        let nameless = folder.join("..");
        let error = fs::write_atomic(&nameless, "").await;
        assert_error(error, InvalidInput, "cannot write", &nameless);
        std::fs::create_dir(folder.join("taken")).unwrap();
        let error = fs::write_atomic(folder.join("taken"), "")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(folder), ["state", "taken"], "nothing else is left");
    });
}

#[test]
fn many_replace_one_file() {
    on_each_tier(async |folder| {
        let path = folder.join("state");
        let writers: Vec<_> = (0..20)
            .map(|n| {
                let path = path.clone();
                peu::spawn(async move { fs::write_atomic(path, n.to_string().repeat(1000)).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let whole = (0..20).any(|n: i32| text == n.to_string().repeat(1000));
        assert!(whole, "of one writer alone: {text}");
        assert_eq!(names(folder), ["state"]);
    });
}

#[test]
fn directories() {
    on_each_tier(async |folder| {
        let (one, deep) = (folder.join("one"), folder.join("one/two/three"));
        fs::create_dir(&one).await.unwrap();
        fs::create_dir_all(&deep).await.unwrap();
        assert_error(
            fs::create_dir(&one).await,
            AlreadyExists,
            "cannot create the directory",
            &one,
        );
        let under_file = folder.join("file/two");
        std::fs::write(folder.join("file"), "").unwrap();
        let error = fs::create_dir_all(&under_file)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("file/two"), "{error}");

        let tried = "cannot remove the directory";
        assert_error(fs::remove_dir(&one).await, DirectoryNotEmpty, tried, &one);
        fs::remove_dir(&deep).await.unwrap();
        fs::remove_dir_all(&one).await.unwrap();
        assert_error(fs::remove_dir(&one).await, NotFound, tried, &one);
        assert_error(fs::remove_dir_all(&one).await, NotFound, tried, &one);
        assert_eq!(names(folder), ["file"]);
    });
}

#[test]
fn listing() {
    on_each_tier(async |folder| {
        // More than two batches, and exactly the size of one: where the stream goes back to the pool.
        for count in [0, 1, 128, 300] {
            let full = folder.join(count.to_string());
            let expected: BTreeSet<String> = (0..count).map(|n| n.to_string()).collect();
            std::fs::create_dir(&full).unwrap();
            expected
                .iter()
                .for_each(|name| std::fs::write(full.join(name), "x").unwrap());
            let entries = fs::read_dir(&full).await.unwrap();
            let entries: Vec<_> = entries.try_collect().await.unwrap();
            let found = entries
                .iter()
                .map(|entry| entry.file_name().into_string().unwrap());
            assert_eq!(found.collect::<BTreeSet<_>>(), expected);
            for entry in entries.iter().take(3) {
                assert!(entry.file_type().is_file());
                assert_eq!(entry.metadata().await.unwrap().len(), 1);
                assert!(entry.path().starts_with(&full));
            }
        }
        let gone = fs::read_dir(folder.join("1"))
            .await
            .unwrap()
            .next()
            .await
            .unwrap()
            .unwrap();
        std::fs::remove_file(gone.path()).unwrap();
        assert_error(
            gone.metadata().await,
            NotFound,
            "cannot look at",
            &gone.path(),
        );
        let missing = folder.join("no");
        assert_error(
            fs::read_dir(&missing).await,
            NotFound,
            "cannot list",
            &missing,
        );
    });
}

#[test]
fn names_and_links() {
    on_each_tier(async |folder| {
        let [path, link, second, missing] =
            ["path", "link", "second", "missing"].map(|name| folder.join(name));
        std::fs::write(&path, "text").unwrap();
        fs::symlink("path", &link).await.unwrap();
        fs::hard_link(&path, &second).await.unwrap();
        assert_eq!(fs::read_link(&link).await.unwrap(), Path::new("path"));
        assert_eq!(
            fs::canonicalize(&link).await.unwrap(),
            path.canonicalize().unwrap()
        );
        assert_eq!(fs::metadata(&link).await.unwrap().nlink(), 2);
        assert!(fs::symlink_metadata(&link).await.unwrap().is_symlink());
        assert!(fs::try_exists(&link).await.unwrap());
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
            .await
            .unwrap();
        assert_eq!(fs::metadata(&second).await.unwrap().mode() & 0o777, 0o600);
        fs::remove_file(&second).await.unwrap();
        fs::rename(&path, &second).await.unwrap();
        assert!(!fs::try_exists(&link).await.unwrap(), "it dangles");
        assert_eq!(names(folder), ["link", "second"]);

        let shown = |path: &Path| path.display().to_string();
        assert_error(
            fs::read_link(&second).await,
            InvalidInput,
            "cannot read the link",
            &second,
        );
        assert_error(
            fs::canonicalize(&missing).await,
            NotFound,
            "cannot resolve",
            &missing,
        );
        assert_error(fs::metadata(&link).await, NotFound, "cannot look at", &link);
        assert_error(
            fs::symlink_metadata(&path).await,
            NotFound,
            "cannot look at",
            &path,
        );
        assert_error(
            fs::remove_file(&path).await,
            NotFound,
            "cannot remove",
            &path,
        );
        let permissions = PermissionsExt::from_mode(0o600);
        let error = fs::set_permissions(&path, permissions).await;
        assert_error(error, NotFound, "cannot set the permissions of", &path);
        let tried = format!("cannot give the name {} to", shown(&link));
        assert_error(
            fs::rename(&missing, &link).await,
            NotFound,
            &tried,
            &missing,
        );
        let tried = format!("cannot make {} a name of", shown(&link));
        assert_error(
            fs::hard_link(&missing, &link).await,
            NotFound,
            &tried,
            &missing,
        );
        let tried = format!("cannot make {} a link to", shown(&link));
        assert_error(
            fs::symlink(&missing, &link).await,
            AlreadyExists,
            &tried,
            &missing,
        );
        let under_file = second.join("x");
        let error = fs::try_exists(&under_file).await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot look for") && error.contains("second/x"),
            "{error}"
        );
    });
}
