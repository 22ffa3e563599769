//! The guard that makes a runtime a thread's current one stays on that thread.
//!
//! refused: cannot be sent between threads safely
//! refused: within the type `EnterGuard

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    let guard = runtime.handle(); // right
    let guard = runtime.handle().enter(); // wrong
    std::thread::scope(|threads| {
        threads.spawn(move || { // here
            let _guard = guard;
        });
    });
}
