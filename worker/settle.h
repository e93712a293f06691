#pragma once

// What the service word tells a new holder of a seat: the first thing that it looks at. Pure; worker.
//
//   service word        this image, first holder     this image, later holder
//   (own, 0)            serve                        serve
//   (own, t)            withdraw, serve              withdraw, serve
//   (s, own)            clone, then commit           withdraw, retire: the first died before its commit
//   any other           retire                       retire

#include "daemon/slot/layout.h"

namespace tcpd::worker {

enum class Verdict { serve, withdraw_and_serve, commit_after_clone, withdraw_and_retire, retire };

// `is_first`: no process held this image's seat before.
Verdict settle_by(slot::ServiceWord word, uint32_t image, bool is_first);

}  // namespace tcpd::worker
