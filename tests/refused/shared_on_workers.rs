//! A future that is not `Send`, on workers that steal.
//!
//! refused: future cannot be sent between threads safely
//! refused: captured value is not `Send`

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    let shared = std::sync::Arc::new(1); // right
    let shared = std::rc::Rc::new(1); // wrong
    runtime.spawn(async move { // here
        peu::task::yield_now().await;
        drop(shared);
    });
}
