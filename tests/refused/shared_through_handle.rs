//! A future that is not `Send`, given to a local runtime by the handle that other threads have.
//!
//! refused: future cannot be sent between threads safely
//! refused: captured value is not `Send`

fn main() {
    let runtime = peu::LocalRuntime::new().unwrap();
    let shared = std::rc::Rc::new(1);
    runtime.spawn_local(async move { drop(shared) }); // right
    runtime.handle().spawn(async move { drop(shared) }); // wrong, here
}
