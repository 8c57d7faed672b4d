// The counter of visitstats for Vue 3. License: MIT.
import { defineComponent, Fragment, h, onMounted } from 'vue';
import { metas, snippet, start } from '../javascript/visitstats.mjs';

export { metas };

// The snippet and its box. The article's metas stand here, where the widget finds them as well: a Teleport into the head
// cannot be taken over from a server. Who has a head manager gives it metas() and leaves the three out here.
export const Visitstats = defineComponent({
  name: 'Visitstats',
  inheritAttrs: false,
  props: {
    api: { type: String, required: true },
    site: { type: String, required: true },
    options: { type: Object, default: () => ({}) },
    articleKey: { type: String, default: undefined },
    author: { type: String, default: undefined },
    category: { type: String, default: undefined },
    published: { type: String, default: undefined },
  },
  setup(props) {
    onMounted(() => start(props));
    return () =>
      h(Fragment, [
        metas(props).map((meta) => h('meta', { key: meta.name || meta.property, ...meta })),
        // The widget puts its box in here, so Vue must not look inside.
        h('div', { innerHTML: snippet(props) }),
      ]);
  },
});

// The count of the article that is shown, or of another, by its key or address.
export const Views = defineComponent({
  name: 'VisitstatsViews',
  props: { of: { type: String, default: undefined } },
  setup: (props) => () =>
    // A fresh element for another article, and one whose text is the widget's.
    h('span', { key: props.of, ...(props.of ? { 'data-vs-views': props.of } : { 'data-vs': 'views' }), innerHTML: '—' }),
});
