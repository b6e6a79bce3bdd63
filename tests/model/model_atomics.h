/* SPDX-License-Identifier: MIT
 *
 * For SYNCMAP_ATOMICS (src/atomic.h): each operation is a step of the scheduler, and plain stores may wait in a buffer.
 */
#ifndef SYNCMAP_MODEL_ATOMICS_H
#define SYNCMAP_MODEL_ATOMICS_H

#include "model/scheduler.h"

/* Named model_here where it stands. */
#define MODEL_SITE(what) static const struct model_site model_here = {__FILE__, __LINE__, what}
#define MODEL_TYPE(object) __typeof__(atomic_load_explicit(object, memory_order_relaxed))
#define MODEL_DRAINS(order) ((order) == memory_order_seq_cst)

#define atomic_ld(object, order) __extension__({ \
    __auto_type model_object = (object); \
    MODEL_TYPE(model_object) model_value; \
    MODEL_SITE("load " #object); \
    model_step(MODEL_LOAD, model_object, sizeof model_value, false, &model_here); \
    if (!model_forward(model_object, &model_value, sizeof model_value)) \
        model_value = atomic_load_explicit(model_object, memory_order_seq_cst); \
    model_value; })

#define atomic_st(object, value, order) __extension__({ \
    __auto_type model_object = (object); \
    MODEL_TYPE(model_object) model_value = (value); \
    MODEL_SITE("store " #object); \
    model_step(MODEL_STORE, model_object, sizeof model_value, MODEL_DRAINS(order), &model_here); \
    if (MODEL_DRAINS(order) || !model_delay(model_object, &model_value, sizeof model_value, &model_here)) \
        atomic_store_explicit(model_object, model_value, memory_order_seq_cst); \
    (void)0; })

#define atomic_add(object, value, order) __extension__({ \
    __auto_type model_object = (object); \
    MODEL_SITE("add " #object); \
    model_step(MODEL_RMW, model_object, sizeof *model_object, true, &model_here); \
    atomic_fetch_add_explicit(model_object, value, memory_order_seq_cst); })

#define atomic_xchg(object, value, order) __extension__({ \
    __auto_type model_object = (object); \
    MODEL_SITE("exchange " #object); \
    model_step(MODEL_RMW, model_object, sizeof *model_object, true, &model_here); \
    atomic_exchange_explicit(model_object, value, memory_order_seq_cst); })

#define atomic_cas(object, expected, desired, order, failed) __extension__({ \
    __auto_type model_object = (object); \
    MODEL_SITE("cas " #object); \
    model_step(MODEL_RMW, model_object, sizeof *model_object, true, &model_here); \
    atomic_compare_exchange_strong_explicit(model_object, expected, desired, memory_order_seq_cst, memory_order_seq_cst); })

#endif
