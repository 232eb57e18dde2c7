//! Each time by itself, with time passed in.

use super::*;
use std::future::poll_fn;

const RECEIVING: State = State::Data(DataState::Receiving);

fn clock(command: u64, session: u64) -> Clock {
    Clock::new(&SessionTimeouts {
        command_ms: command * 1000,
        session_ms: session * 1000,
    })
}

/// Waits; what is over, and after how many seconds.
async fn over(clock: &mut Clock) -> (Expired, u64) {
    let begin = Instant::now();
    let expired = poll_fn(|cx| clock.poll_expired(cx)).await;
    (expired, begin.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_command_must_come_whole_in_its_time() {
    let mut clock = clock(10, 100);
    tokio::time::advance(Duration::from_secs(6)).await;
    // Octets came, but no command.
    clock.received(1);
    clock.settle(State::Mail, false);
    assert_eq!(over(&mut clock).await, (Expired::Slow, 4));
}

#[tokio::test(start_paused = true)]
async fn each_command_has_its_own_time_and_all_have_the_sessions() {
    let mut clock = clock(10, 25);
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(9)).await;
        clock.settle(State::Mail, true);
    }
    assert_eq!(
        over(&mut clock).await,
        (Expired::Slow, 7),
        "25 s after the beginning"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_has_its_own_time_and_a_rate() {
    let mut whole = clock(10, 1000);
    whole.data(Duration::from_secs(100), 0);
    whole.settle(RECEIVING, true);
    assert_eq!(
        over(&mut whole).await,
        (Expired::Slow, 100),
        "no command is waited for"
    );

    let mut rate = clock(10, 1000);
    rate.data(Duration::from_secs(100), 10);
    rate.settle(RECEIVING, true);
    rate.received(300);
    assert_eq!(
        over(&mut rate).await,
        (Expired::Slow, 60),
        "fast enough for one window only"
    );
}

#[tokio::test(start_paused = true)]
async fn data_that_cannot_be_trusted_ends_by_silence() {
    let mut clock = clock(10, 1000);
    clock.data(Duration::from_secs(500), 0);
    clock.settle(RECEIVING, true);
    tokio::time::advance(Duration::from_secs(20)).await;
    clock.received(5);
    clock.settle(State::Data(DataState::Untrusted), false);
    assert_eq!(over(&mut clock).await, (Expired::Untrusted, 30));
}

#[tokio::test(start_paused = true)]
async fn between_two_chunks_a_command_is_waited_for() {
    let mut clock = clock(10, 1000);
    clock.data(Duration::from_secs(500), 0);
    clock.settle(State::Data(DataState::BetweenChunks), true);
    assert_eq!(over(&mut clock).await, (Expired::Slow, 10));
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_two_chunks_is_not_part_of_the_rate() {
    let mut clock = clock(60, 1000);
    clock.data(Duration::from_secs(500), 10);
    clock.settle(RECEIVING, true);
    clock.received(100);
    clock.settle(State::Data(DataState::BetweenChunks), true);
    tokio::time::advance(Duration::from_secs(50)).await;
    clock.received(300);
    clock.settle(RECEIVING, true);
    assert_eq!(
        over(&mut clock).await,
        (Expired::Slow, 60),
        "one whole window that is fast enough, and one without an octet"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_set_goes_before_commands() {
    let mut clock = clock(100, 1000);
    clock.ends_within(Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(6)).await;
    clock.settle(State::Mail, true);
    assert_eq!(over(&mut clock).await, (Expired::Slow, 4));
}
