//! The simulated disk itself: what it keeps, what it may lose.
#![allow(clippy::unwrap_used)]

use std::io::IoSlice;

use duolog_storage::disk::{Disk, DiskFile};

use super::{Faults, SimDisk};

fn write(file: &dyn DiskFile, position: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

#[test]
fn what_was_synced_survives_and_what_was_not_is_in_doubt() {
    let mut survived = 0;
    for seed in 0..64 {
        let disk = SimDisk::new(seed);
        let file = disk.create("a").unwrap();
        disk.sync_directory().unwrap();
        write(&*file, 0, b"synced").unwrap();
        file.sync_data().unwrap();
        write(&*file, 6, b"not").unwrap();
        disk.power_on();
        let bytes = disk.contents("a").unwrap();
        assert_eq!(&bytes[..6], b"synced");
        survived += u32::from(bytes.ends_with(b"not"));
    }
    assert!((1..64).contains(&survived), "{survived} of 64 kept an unsynced write");
}

#[test]
fn a_name_is_in_doubt_until_the_directory_is_synced() {
    let lost = (0..64).filter(|seed| {
        let disk = SimDisk::new(*seed);
        let file = disk.create("a").unwrap();
        write(&*file, 0, b"x").unwrap();
        file.sync_data().unwrap();
        disk.power_on();
        disk.names().is_empty()
    });
    assert!((1..64).contains(&lost.count()));
}

#[test]
fn a_failed_sync_leaves_pages_that_look_written_and_are_not() {
    let disk = SimDisk::new(1);
    let file = disk.create("a").unwrap();
    disk.sync_directory().unwrap();
    disk.set_faults(Faults { sync_fails_after: Some(0), ..Faults::default() });
    write(&*file, 0, b"gone").unwrap();
    file.sync_data().unwrap_err();
    let mut seen = [0; 4];
    file.read_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"gone");
    file.sync_data().unwrap();
    disk.power_on();
    assert_eq!(disk.contents("a").unwrap(), b"");
}

#[test]
fn after_the_power_went_off_nothing_works_until_it_is_on_and_old_handles_never() {
    let disk = SimDisk::new(1);
    let file = disk.create("a").unwrap();
    disk.set_faults(Faults { power_off_after: Some(1), ..Faults::default() });
    write(&*file, 0, b"x").unwrap();
    write(&*file, 1, b"y").unwrap_err();
    assert!(!disk.is_on());
    disk.list().unwrap_err();
    disk.power_on();
    disk.list().unwrap();
    write(&*file, 0, b"z").unwrap_err();
}

#[test]
fn a_full_disk_refuses_to_allocate_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(1);
    let file = disk.create("a").unwrap();
    disk.set_faults(Faults { capacity_bytes: Some(1000), ..Faults::default() });
    file.allocate(0, 900).unwrap();
    assert_eq!(file.allocate(900, 200).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    disk.set_faults(Faults { capacity_bytes: Some(2000), ..Faults::default() });
    file.allocate(900, 200).unwrap();
    assert_eq!(disk.hits().full, 1);
}

#[test]
fn the_lock_is_held_by_one() {
    let disk = SimDisk::new(1);
    disk.lock().unwrap();
    assert_eq!(disk.lock().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    disk.kill_process();
    disk.lock().unwrap();
}
