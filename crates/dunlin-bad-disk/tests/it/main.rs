//! The library as programs meet it: preloaded into a program that writes files, which is this test
//! itself, started once more.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Names the part that the second process plays.
const PART: &str = "DUNLIN_BAD_DISK_PART";

/// Folders of a test.
struct Stage {
    root: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["data", "shadow"] {
            fs::create_dir(root.path().join(name)).expect("a folder");
        }
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().expect("a real path").join(name)
    }

    /// Plays a part with the library preloaded.
    fn play(&self, part: &str) {
        let test = std::env::current_exe().expect("this program");
        let library = test.parent().expect("a folder").join("libdunlin_bad_disk.so");
        assert!(library.is_file(), "no library at {}", library.display());
        let mut command = Command::new(&test);
        command.args(["--exact", "the_second_process", "--nocapture"]);
        command.env(PART, part).env("LD_PRELOAD", library);
        for (name, folder) in [("DATA", "data"), ("SHADOW", "shadow"), ("CONTROL", "control")] {
            command.env(format!("DUNLIN_BAD_DISK_{name}"), self.path(folder));
        }
        command.current_dir(self.path("data"));
        let output = command.output().expect("the second process");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn control(&self, text: &str) {
        fs::write(self.path("control"), text).expect("the control file");
    }

    /// What a power cut would leave of a file.
    fn durable(&self, name: &str) -> Option<Vec<u8>> {
        let metadata = fs::metadata(self.path("data").join(name)).expect("the file");
        let born = metadata.created().expect("the time of birth");
        let born = born.duration_since(UNIX_EPOCH).expect("a time after 1970");
        let (inode, secs, nanos) = (metadata.ino(), born.as_secs(), born.subsec_nanos());
        fs::read(self.path("shadow").join(format!("{inode}-{secs}-{nanos}"))).ok()
    }
}

/// Does nothing unless it is the second process.
#[test]
fn the_second_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let mut file = append(Path::new("file"));
    match part.as_str() {
        "covered" => {
            file.write_all(b"covered ").expect("written");
            file.sync_data().expect("synced");
            file.write_all(b"not covered").expect("written");
        }
        "renamed" => {
            file.write_all(b"under its first name").expect("written");
            file.sync_all().expect("synced");
            fs::rename("file", "renamed").expect("renamed");
        }
        "cut" => {
            file.write_all(b"0123456789").expect("written");
            file.sync_all().expect("synced");
            file.set_len(4).expect("cut");
            file.write_all(b"ab").expect("written");
            file.sync_all().expect("synced");
        }
        "again" => file.sync_data().expect("synced"),
        "full" => {
            file.write_all(b"0123").expect("written");
            let error = file.write_all(b"456789").expect_err("no room");
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        }
        "failing" => {
            file.write_all(b"lost").expect("written");
            let error = file.sync_data().expect_err("a failing sync");
            assert_eq!(error.raw_os_error(), Some(5));
            fs::remove_file("../control").expect("the fault is over");
            let deadline = Instant::now() + Duration::from_secs(60);
            while file.sync_data().is_err() {
                assert!(Instant::now() < deadline, "the fault does not end");
            }
        }
        "read-only" => {
            let error = file.write_all(b"x").expect_err("read-only");
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            fs::write("../elsewhere", "written").expect("files elsewhere are let be");
        }
        "slow" => {
            let began = Instant::now();
            file.sync_data().expect("synced");
            assert!(began.elapsed() >= Duration::from_millis(120));
        }
        part => panic!("no part {part}"),
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("the file")
}

#[test]
fn a_power_cut_leaves_what_a_sync_has_covered() {
    let stage = Stage::new();
    stage.play("covered");
    assert_eq!(stage.durable("file").as_deref(), Some(&b"covered "[..]));
    // A second process does not know what the first had synced, so its sync is for all of it.
    stage.play("again");
    assert_eq!(stage.durable("file").as_deref(), Some(&b"covered not covered"[..]));
}

#[test]
fn the_shadow_follows_a_renamed_file() {
    let stage = Stage::new();
    stage.play("renamed");
    assert_eq!(stage.durable("renamed").as_deref(), Some(&b"under its first name"[..]));
}

#[test]
fn what_is_cut_off_is_gone() {
    let stage = Stage::new();
    stage.play("cut");
    assert_eq!(stage.durable("file").as_deref(), Some(&b"0123ab"[..]));
}

#[test]
fn a_full_disk_has_no_room() {
    let stage = Stage::new();
    stage.control("write-room 6\n");
    stage.play("full");
    assert_eq!(fs::read(stage.path("data/file")).expect("the file"), b"012345");
}

#[test]
fn what_a_failed_sync_was_for_is_lost_whatever_a_later_one_says() {
    let stage = Stage::new();
    stage.control("sync-fails\n");
    stage.play("failing");
    assert_eq!(stage.durable("file").as_deref(), Some(&[0; 4][..]));
}

#[test]
fn a_read_only_disk_takes_nothing() {
    let stage = Stage::new();
    stage.control("read-only\n");
    stage.play("read-only");
    assert_eq!(stage.durable("file"), None);
}

#[test]
fn a_slow_disk_takes_its_time() {
    let stage = Stage::new();
    stage.control("sync-delay-ms 120\n");
    stage.play("slow");
}
