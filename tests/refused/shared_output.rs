//! An output that is not `Send`.
//!
//! refused: cannot be sent between threads safely
//! refused: F::Output: Send

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    runtime.spawn(async { std::sync::Arc::new(1) }); // right
    runtime.spawn(async { std::rc::Rc::new(1) }); // wrong, here
}
