//! A local runtime stays on its thread.
//!
//! refused: cannot be sent between threads safely

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap(); // right
    let runtime = peu::LocalRuntime::new().unwrap(); // wrong
    std::thread::spawn(move || drop(runtime)).join().unwrap(); // here
}
