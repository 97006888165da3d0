//! Programs whose tasks share objects: a lock and queues of a `Manager`.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use wpool::{AsyncResult, Manager, Module, Pool, Process, SharedError};

use crate::{LONG, yes};

/// Longer than a call takes that has nothing to wait for; no more than what is
/// printed by then could be wrong.
const BRIEFLY: Duration = Duration::from_millis(100);

/// P8: a lock of the parent, which the initializer hands to all workers.
pub fn one_lock(module: Module) -> Result<()> {
    let manager = Manager::new();
    let (lock, hits) = (manager.lock("l")?, manager.counter("hits")?);
    let pool = Pool::builder(module).processes(4).shared(&manager).initializer("use-lock", ("l", "hits")).build()?;
    let held = lock.lock();
    let calls: Vec<AsyncResult<()>> = (0..4).map(|_| pool.apply_async("count", 250)).collect::<Result<_, _>>()?;
    calls[0].wait(BRIEFLY);
    println!("while the parent holds the lock: {}", hits.get());
    drop(held);
    for call in calls {
        call.get()?;
    }
    println!("counted by four: {}", hits.get());
    println!("the lock is free: {}", yes(lock.try_lock().is_some()));
    let holder: AsyncResult<()> = pool.apply_async("hold", ())?;
    while lock.try_lock().is_some() {
        holder.wait(Duration::from_millis(1));
    }
    for worker in pool.worker_pids().into_iter().filter_map(Pid::from_raw) {
        // One may have ended by itself.
        let _gone = kill_process(worker, Signal::KILL);
    }
    println!("its holder is killed, and it is free: {}", yes(lock.lock_timeout(LONG).is_some()));
    Ok(())
}

/// P9: some tasks write a queue, others read it.
pub fn queue(module: Module) -> Result<()> {
    let manager = Manager::new();
    let queue = manager.queue("q", 3)?;
    let pool = Pool::builder(module).processes(2).shared(&manager).build()?;
    pool.apply::<()>("write", ("q", ["Python", "C", "Java"]))?;
    println!("written: {}", queue.qsize());
    let full = matches!(queue.put_timeout("Rust", BRIEFLY), Err(SharedError::Full));
    println!("a fourth has no room: {}", yes(full));
    let writer: AsyncResult<()> = pool.apply_async("write", ("q", ["Rust"]))?;
    println!("a task waits for room: {}", yes(!writer.wait(BRIEFLY)));
    println!("read: {}", pool.apply::<Vec<String>>("read", "q")?.join(", "));
    writer.get()?;
    println!("read: {}", pool.apply::<Vec<String>>("read", "q")?.join(", "));
    let empty = matches!(queue.get_timeout::<String>(BRIEFLY), Err(SharedError::Empty));
    println!("nothing is left: {}", yes(empty));
    Ok(())
}

/// P18: results of processes come in any order, and are put in order by index.
pub fn results_of_processes(module: &Module) -> Result<()> {
    let manager = Manager::new();
    let queue = manager.queue("results", 3)?;
    let mut processes = Vec::new();
    for (index, ms) in [600, 10, 100_u64].into_iter().enumerate() {
        let process = Process::builder(module.clone())
            .with_pool(|pool| pool.shared(&manager))
            .function("sleep-into")
            .args(("results", index, ms))
            .build();
        process.start()?;
        processes.push(process);
    }
    let mut arrived: Vec<(usize, u64)> = processes.iter().map(|_| queue.get_timeout(LONG)).collect::<Result<_, _>>()?;
    for process in &processes {
        ensure!(process.join()? == 0, "{} failed", process.name());
    }
    println!("the first came last: {}", yes(arrived.last().is_some_and(|(index, _)| *index == 0)));
    arrived.sort_unstable();
    println!("{:?}", arrived.into_iter().map(|(_, ms)| ms).collect::<Vec<u64>>());
    Ok(())
}
