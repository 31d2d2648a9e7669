//! One set of scenarios, over each transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use super::*;

/// Whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn each() -> [(Transport, Transport); 2] {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (our_end, their_end) = pair(64 * 1024);
    [
        (Transport::Unix(ours), Transport::Unix(theirs)),
        (Transport::Memory(our_end), Transport::Memory(their_end)),
    ]
}

async fn write(to: &WriteHalf, frames: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<_> = frames.iter().map(|it| IoSlice::new(it)).collect();
    poll_fn(|cx| to.poll_write(cx, &slices)).await
}

async fn read(from: &mut ReadHalf) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::with_capacity(1024 * 1024);
    poll_fn(|cx| from.poll_read(cx, &mut buffer)).await?;
    Ok(buffer.to_vec())
}

#[tokio::test]
async fn frames_that_are_written_together_arrive_together_and_in_order() {
    for (ours, theirs) in each() {
        let (mut read_half, _keep) = theirs.split();
        let (_, write_half) = ours.split();
        let written = write(&write_half, &[b"one", b"", b"two"]).await;
        assert_eq!(written.unwrap(), 6);
        assert_eq!(read(&mut read_half).await.unwrap(), b"onetwo");
    }
}

#[tokio::test]
async fn a_handshake_goes_both_ways_before_frames_do() {
    for (mut ours, mut theirs) in each() {
        ours.write_all(b"hello").await.unwrap();
        let mut buffer = BytesMut::new();
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..], b"hello");
        let large = vec![1; 200 * 1024];
        let all = tokio::spawn(async move {
            theirs.write_all(&large).await.unwrap();
            theirs
        });
        let mut total = 0;
        while total < 200 * 1024 {
            buffer.clear();
            total += ours.read(&mut buffer).await.unwrap();
        }
        drop(all.await.unwrap());
        buffer.clear();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0, "the end");
    }
}

#[tokio::test]
async fn what_finds_no_room_waits_for_the_reader() {
    for (ours, theirs) in each() {
        let (mut read_half, _keep) = theirs.split();
        let (_, write_half) = ours.split();
        let frame = vec![7; 4096];
        let mut written = 0;
        loop {
            match write_half.try_write(&[IoSlice::new(&frame)]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && written > 0 => break,
                // The runtime has not seen yet that there is room.
                Err(_) => written += write(&write_half, &[&frame]).await.unwrap(),
            }
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let slices = [IoSlice::new(&frame)];
        let waits = write_half.poll_write(&mut Context::from_waker(&waker), &slices);
        assert!(waits.is_pending());
        assert!(!woken.0.load(Ordering::Relaxed));
        let mut total = 0;
        while total < written {
            total += read(&mut read_half).await.unwrap().len();
        }
        assert_eq!(write(&write_half, &[&frame]).await.unwrap(), 4096);
    }
}

#[tokio::test]
async fn a_look_finds_what_has_arrived_and_nothing_else() {
    for (ours, theirs) in each() {
        let (read_half, _keep) = theirs.split();
        let (_, write_half) = ours.split();
        let mut buffer = [0; 4];
        let nothing = read_half.try_read(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        write(&write_half, &[b"frames"]).await.unwrap();
        assert_eq!(read_half.try_read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"fram");
        assert_eq!(read_half.try_read(&mut buffer).unwrap(), 2);
        drop(write_half);
        assert_eq!(read_half.try_read(&mut buffer).unwrap(), 0, "the end");
    }
}

#[tokio::test]
async fn an_end_that_is_dropped_is_read_to_its_end_and_written_to_no_more() {
    for (ours, theirs) in each() {
        let (mut our_read, our_write) = ours.split();
        let (their_read, their_write) = theirs.split();
        write(&their_write, &[b"last"]).await.unwrap();
        drop((their_read, their_write));
        assert_eq!(read(&mut our_read).await.unwrap(), b"last");
        assert_eq!(read(&mut our_read).await.unwrap(), b"");
        let error = write(&our_write, &[b"late"]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn who_hangs_up_ends_both_directions() {
    for (ours, theirs) in each() {
        let (mut our_read, our_write) = ours.split();
        let (mut their_read, their_write) = theirs.split();
        our_write.hang_up();
        assert_eq!(read(&mut their_read).await.unwrap(), b"");
        assert_eq!(read(&mut our_read).await.unwrap(), b"");
        write(&their_write, &[b"late"]).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_by_frames_and_by_the_end() {
    for ends in [false, true] {
        for (ours, theirs) in each() {
            let (mut read_half, _keep) = theirs.split();
            let (_, write_half) = ours.split();
            let reader = tokio::spawn(async move { read(&mut read_half).await.unwrap() });
            tokio::task::yield_now().await;
            if ends {
                drop(write_half);
                assert_eq!(reader.await.unwrap(), b"");
            } else {
                write(&write_half, &[b"frame"]).await.unwrap();
                assert_eq!(reader.await.unwrap(), b"frame");
            }
        }
    }
}

#[tokio::test]
async fn a_transport_says_who_the_peer_is_and_what_it_carries() {
    let uid = rustix::process::geteuid().as_raw();
    for (ours, _theirs) in each() {
        assert_eq!(ours.peer().unwrap().uid, uid);
        assert!(ours.is_on_this_host());
        assert_eq!(ours.max_frame_size(), u32::MAX as usize);
    }
    let [(unix, _one), (memory, _other)] = each();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(unix.peer().unwrap().pid, Some(own));
    assert_eq!(memory.peer().unwrap().pid, None, "no process of its own");
}
