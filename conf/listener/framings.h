#pragma once

// The framing that each listener names, and what depends on it: which keys mean something there. Pure; every
// process. Owns nothing: a death in here leaves nothing behind. Source: tcpd.yaml(5).

#include "conf/draft.h"

namespace tcpd::conf {

// Gives each listener its framing, with its own max_frame, and checks its keys and routes against it. Not
// `is_whole`: a file could not be read, and what is not there may be in it.
void resolve_framings(Draft& draft, bool is_whole);

}  // namespace tcpd::conf
