//! Figures of processes, read from what the system reports.

use super::*;

#[test]
fn cpu_time_is_read_whatever_the_name() {
    assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
    assert_eq!(parse_schedstat(""), None);
    let stat = "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 9 9 9";
    assert_eq!(parse_stat(stat), Some(300));
    assert_eq!(parse_stat("77 (cut"), None);
}

#[test]
fn memory_fields_are_whole_names() {
    let text = "VmRSSx:\t 1 kB\nVmRSS:\t    5012 kB\nName: x\n";
    assert_eq!(parse_field(text, "VmRSS"), Some(5012 * 1024));
    assert_eq!(parse_field(text, "Name"), None);
    assert_eq!(parse_field(text, "Rss"), None);
}

#[test]
fn this_process_has_memory_and_cpu_time() {
    let memory = Memory::of(std::process::id()).unwrap();
    assert!(memory.rollup_rss > 0 && memory.status_rss > 0 && memory.rollup_anonymous > 0);
    cpu_time(std::process::id()).unwrap();
    let now = resident(std::process::id()).unwrap();
    assert!(resident_peak(std::process::id()).unwrap() >= now / 2);
}

#[test]
fn the_time_of_a_process_is_that_of_its_threads() {
    let pid = std::process::id();
    let threads: Duration = thread_times(pid).expect("it is there").values().sum();
    assert!(threads <= cpu_time(pid).expect("it is there"));
    assert!(thread_times(u32::MAX).is_err());
}
