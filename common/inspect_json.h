/* inspect_json.h - what inspect.h finds, as JSON for programs: jobctl --json, later the dashboard.
 *
 * A document appears as the text it is ("document"), never decoded and written again; if it is not
 * UTF-8, as base64 ("document_base64").  Each function returns a new reference.
 */
#ifndef BL_COMMON_INSPECT_JSON_H
#define BL_COMMON_INSPECT_JSON_H

#include <jansson.h>

#include "common/inspect.h"

json_t *inspect_sizes_json(const struct store_queue *queue, const struct inspect_sizes *sizes);
json_t *inspect_letter_json(const struct inspect_letter *letter);
json_t *inspect_worker_json(const struct inspect_worker *worker);

#endif
