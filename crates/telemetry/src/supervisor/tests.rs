use super::*;
use parking_lot::Mutex;
use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(86_400);

type Log = Arc<Mutex<Vec<&'static str>>>;

fn log() -> (Log, impl Fn(&'static str) + Clone + Send + 'static) {
    let log = Log::default();
    let entries = log.clone();
    (log, move |entry| entries.lock().push(entry))
}

async fn idle(stop: Stop) -> Result<(), Infallible> {
    stop.cancelled().await;
    Ok(())
}

/// Runs until the supervisor ends, which it must.
async fn run(supervisor: Supervisor, stop: impl Future<Output = ()>) -> Result<(), TaskError> {
    let ended = timeout(NEVER, supervisor.run(stop)).await;
    ended.expect("the supervisor ends")
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_ends_the_process_with_its_error() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    supervisor.spawn(stage, "idle", idle);
    supervisor.spawn(stage, "broken", |_| async {
        Err(io::Error::other("disk full"))
    });
    let error = run(supervisor, pending()).await.expect_err("it failed");
    assert_eq!(
        ErrorChain(&error).to_string(),
        "task broken failed: disk full"
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_returns_by_itself_ends_the_process() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    supervisor.spawn(stage, "short", |_| async { Ok::<_, Infallible>(()) });
    let error = run(supervisor, pending()).await.expect_err("it ended");
    assert_eq!(error.to_string(), "task short ended unexpectedly");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_with_its_message() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    supervisor.spawn(stage, "careless", |_| async {
        let missing = "red";
        if missing.len() == 3 {
            panic!("no cluster {missing}");
        }
        Ok::<_, Infallible>(())
    });
    let error = run(supervisor, pending()).await.expect_err("it panicked");
    assert_eq!(error.to_string(), "task careless panicked: no cluster red");
}

/// On the real clock: a paused one runs ahead while the thread starts.
#[tokio::test]
async fn a_thread_that_panics_is_told_like_a_task() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    let worker = thread("worker", || -> Result<(), Infallible> {
        panic!("no descriptors")
    });
    let worker = worker.expect("a thread");
    supervisor.spawn(stage, "worker 0", |_| worker);
    let error = run(supervisor, pending()).await.expect_err("it panicked");
    assert_eq!(error.to_string(), "task worker 0 panicked: no descriptors");
}

#[tokio::test(start_paused = true)]
async fn stages_drain_one_after_the_other_and_each_task_ends_its_work() {
    let (log, add) = log();
    let mut supervisor = Supervisor::new();
    let api = supervisor.stage("api", SECOND * 10);
    let store = supervisor.stage("store", SECOND);
    let entry = add.clone();
    supervisor.spawn(store, "store", |stop| async move {
        stop.cancelled().await;
        entry("store");
        Ok::<_, Infallible>(())
    });
    supervisor.spawn(api, "api", |stop| async move {
        stop.cancelled().await;
        add("api told");
        sleep(SECOND * 9).await;
        add("api");
        Ok::<_, Infallible>(())
    });
    run(supervisor, sleep(SECOND)).await.expect("a clean end");
    assert_eq!(*log.lock(), ["api told", "api", "store"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_end_is_aborted_at_the_deadline_before_the_next_stage() {
    struct Told<F: Fn(&'static str)>(F);
    impl<F: Fn(&'static str)> Drop for Told<F> {
        fn drop(&mut self) {
            (self.0)("dropped");
        }
    }
    let (log, add) = log();
    let mut supervisor = Supervisor::new();
    let first = supervisor.stage("first", SECOND * 3);
    let second = supervisor.stage("second", SECOND);
    let held = Told(add.clone());
    supervisor.spawn(first, "deaf", |_| async move {
        let _held = held;
        pending::<Result<(), Infallible>>().await
    });
    supervisor.spawn(second, "last", |stop| async move {
        stop.cancelled().await;
        add("second");
        Ok::<_, Infallible>(())
    });
    let begun = Instant::now();
    run(supervisor, async {}).await.expect("a clean end");
    assert_eq!(begun.elapsed(), SECOND * 3, "of the paused clock");
    assert_eq!(*log.lock(), ["dropped", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_drains_the_others_too_and_is_what_is_told() {
    let (log, add) = log();
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND * 10);
    supervisor.spawn(stage, "works", |stop| async move {
        stop.cancelled().await;
        sleep(SECOND * 5).await;
        add("finished");
        Err(io::Error::other("too late"))
    });
    supervisor.spawn(stage, "broken", |_| async {
        Err(io::Error::other("disk full"))
    });
    let error = run(supervisor, pending()).await.expect_err("it failed");
    assert_eq!(
        ErrorChain(&error).to_string(),
        "task broken failed: disk full"
    );
    assert_eq!(*log.lock(), ["finished"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_during_a_shutdown_is_told() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    supervisor.spawn(stage, "flush", |stop| async move {
        stop.cancelled().await;
        Err(io::Error::other("not flushed"))
    });
    let error = run(supervisor, async {}).await.expect_err("it failed");
    assert_eq!(
        ErrorChain(&error).to_string(),
        "task flush failed: not flushed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_task_comes_back_after_errors_panics_and_ends_with_longer_pauses() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let times = starts.clone();
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    let delays = restart_delays_without_jitter();
    supervisor.spawn_restarting(stage, "flaky", delays, move |stop| {
        let mut times = times.lock();
        times.push(Instant::now());
        let count = times.len();
        drop(times);
        async move {
            match count {
                1 => Err(io::Error::other("no connection")),
                2 => panic!("an invariant"),
                3 => Ok(()),
                _ => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    run(supervisor, sleep(SECOND * 10))
        .await
        .expect("a clean end");
    let starts = starts.lock();
    // The paused clock moves in steps of a millisecond, and rounds up.
    let pauses = starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis() / 10);
    assert_eq!(pauses.collect::<Vec<_>>(), [10, 20, 40]);
}

fn restart_delays_without_jitter() -> Delays {
    Delays::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
}

#[tokio::test(start_paused = true)]
async fn pauses_start_again_once_a_task_was_well_for_a_while() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let times = starts.clone();
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    let delays = restart_delays_without_jitter();
    supervisor.spawn_restarting(stage, "flaky", delays, move |_| {
        let mut times = times.lock();
        times.push(Instant::now());
        let well = if times.len() == 5 {
            HEALTHY_AFTER
        } else {
            Duration::ZERO
        };
        async move {
            sleep(well).await;
            Err(io::Error::other("no connection"))
        }
    });
    run(supervisor, sleep(SECOND * 62))
        .await
        .expect("a clean end");
    let starts = starts.lock();
    let pause = (starts[5] - starts[4]).as_millis() / 10;
    assert_eq!(pause, HEALTHY_AFTER.as_millis() / 10 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_restarted_no_more_ends_the_process() {
    let tries = Arc::new(AtomicU32::new(0));
    let count = tries.clone();
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND);
    let delays = restart_delays_without_jitter().with_max_times(3);
    supervisor.spawn_restarting(stage, "broken", delays, move |_| {
        count.fetch_add(1, SeqCst);
        async { Err(io::Error::other("no connection")) }
    });
    let error = run(supervisor, pending()).await.expect_err("it failed");
    assert_eq!(
        ErrorChain(&error).to_string(),
        "task broken failed: no connection"
    );
    assert_eq!(tries.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_restart_ends_at_once() {
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("all", SECOND * 5);
    let delays = Delays::new()
        .with_min_delay(SECOND * 20)
        .without_max_times();
    supervisor.spawn_restarting(stage, "broken", delays, |_| async {
        Err(io::Error::other("no connection"))
    });
    let begun = Instant::now();
    run(supervisor, sleep(SECOND)).await.expect("a clean end");
    assert_eq!(begun.elapsed(), SECOND, "of the paused clock");
}

#[tokio::test(start_paused = true)]
async fn without_tasks_it_waits_to_be_stopped() {
    let begun = Instant::now();
    run(Supervisor::new(), sleep(SECOND))
        .await
        .expect("a clean end");
    assert_eq!(begun.elapsed(), SECOND, "of the paused clock");
}
