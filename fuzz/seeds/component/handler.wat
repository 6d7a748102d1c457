;; What a guest looks like from outside: resources of an imported interface, and an exported handler that uses them.
(component
  (import "wasi:http/types@0.2.6" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
  ))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $value (option string))
    (export "get" (func (param "key" string) (result $value)))
  ))
  (core module $main
    (memory (export "memory") 1)
    (func (export "handle") (param i32 i32))
    (data (i32.const 16) "\de\ad\be\ef")
  )
  (core instance $main (instantiate $main))
  (type $own-request (own $request))
  (type $own-out (own $out))
  (func $handle (param "request" $own-request) (param "response-out" $own-out)
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.6" (instance $handler))
)
