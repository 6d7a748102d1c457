;; A component in a component, a module with a name and a list of crates, and a section about producers.
(component
  (core module
    (import "h" "f" (func))
    (memory 1)
    (export "run" (func $run))
    (func $run (@name "_ZN5hello3run17h0123456789abcdefE"))
    (data (i32.const 0) "hello")
    (@custom ".dep-v0" (after last) "x\01\01\16\01\e9\fe{\"packages\": [{\"name\": \"my-shop\", \"version\": \"0.1.0\", \"source\": \"local\", \"dependencies\": [1, 2], \"root\": true}, {\"name\": \"serde\", \"version\": \"1.0.228\", \"source\": \"crates.io\", \"dependencies\": [2]}, {\"name\": \"proc-macro2\", \"version\": \"1.0.1+x\", \"source\": \"git\", \"kind\": \"build\"}]}\ab\c8Sh")
  )
  (component
    (core module
      (@custom "producers" "\00")
    )
  )
)
