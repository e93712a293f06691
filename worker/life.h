#pragma once

// The life of an image's processes, from one seat to the next:
//     wait for the seat, settle, clone the standby, serve; the clone begins at the first again.
// Worker and standby. To retire is to exit: the own standby wakes, settles and exits as well.
// If the process dies in here: before the clone is made, nobody is left for this slot's table and its
// connections are lost (no code that could fault runs there, so only a kill from outside does it); after it
// the clone goes on.

#include "worker/image.h"

namespace tcpd::worker {

// Never returns; `image` is pristine.
[[noreturn]] void live(Image& image);
// The image does not come into service: withdraws the attempt, tells the master why, and exits.
[[noreturn]] void refuse_table(Image& image, slot::HandOverEnd reason);
// On TERM, between two callbacks of the loop: exits at once, so that the robust futex wakes the standby.
[[noreturn]] void leave_seat();

}  // namespace tcpd::worker
