//! A task that keeps something that is not `Send` while it waits, which may be on another worker afterwards.
//!
//! refused: future cannot be sent between threads safely
//! refused: this value is used across an await

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    runtime.spawn(async { // here
        let shared = std::rc::Rc::new(1);
        drop(shared); // right
        peu::task::yield_now().await;
        drop(shared); // wrong
    });
}
