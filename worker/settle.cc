#include "worker/settle.h"

namespace tcpd::worker {

Verdict settle_by(slot::ServiceWord word, uint32_t image, bool is_first) {
    if (word.in_service == image) return word.attempt == 0 ? Verdict::serve : Verdict::withdraw_and_serve;
    if (word.attempt != image) return Verdict::retire;
    return is_first ? Verdict::commit_after_clone : Verdict::withdraw_and_retire;
}

}  // namespace tcpd::worker
