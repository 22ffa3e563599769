//! The handle of a local task goes to another thread only with what it yields.
//!
//! refused: cannot be sent between threads safely

fn main() {
    let runtime = peu::LocalRuntime::new().unwrap();
    let task = runtime.spawn_local(async { std::sync::Arc::new(1) }); // right
    let task = runtime.spawn_local(async { std::rc::Rc::new(1) }); // wrong
    std::thread::spawn(move || drop(task)).join().unwrap(); // here
}
